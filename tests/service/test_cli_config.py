"""`gatewatch config`, as a process: what it prints and how it exits."""

import json
from pathlib import Path

import yaml

from tests.support.command import gatewatch, gatewatch_inside

EXAMPLE = Path(__file__).parents[2] / "gatewatch.yaml"


def test_check_finds_nothing_wrong_with_the_shipped_example(tmp_path: Path):
    """The configuration that is shipped is good."""
    done = gatewatch_inside("config", "check", str(EXAMPLE), directory=tmp_path)

    assert (done.code, done.out, done.err) == (0, f"{EXAMPLE}: good\n", "")


def test_the_shipped_example_is_good_with_every_comment_taken_away(tmp_path: Path):
    """What is commented out in the example works once it is not; the files it names apart."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("gateway:"))
    text = "\n".join(
        line.replace("# ", "", 1) if line.lstrip().startswith("#") else line
        for line in lines[head:]
    )
    (tmp_path / "gatewatch.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "rules.yaml").touch()
    (tmp_path / "alertmanager.yaml").write_text(
        "route: {receiver: team}\nreceivers: [{name: team}]\n", encoding="utf-8"
    )

    done = gatewatch_inside("config", "check", directory=tmp_path)

    (remark,) = done.err.splitlines()
    assert done.code == 0
    assert remark.endswith("hmac_secret: too short to be safe; take 32 bytes or more")


def test_check_without_a_file_checks_the_rest(tmp_path: Path):
    """Without a file the defaults and the environment are checked, and it says so."""
    done = gatewatch_inside("config", "check", directory=tmp_path)

    assert done.code == 0
    assert done.out == "defaults (there is no gatewatch.yaml here): good\n"


def test_check_prints_every_problem_on_its_line(tmp_path: Path):
    """Problems go to stderr as file:line:column, and the exit code is 1."""
    (tmp_path / "bad.yaml").write_text("gateway:\n  port: x\n  prot: 1\n", encoding="utf-8")

    done = gatewatch(
        "config", "check", "bad.yaml", directory=tmp_path, environ={"GATEWATCH_GATEWEY": "1"}
    )

    assert done.code == 1
    assert done.out == ""
    assert done.err.splitlines() == [
        "GATEWATCH_GATEWEY: names no setting; did you mean GATEWATCH_GATEWAY?",
        "bad.yaml:2:9: gateway.port: got 'x', expected a whole number from 0 to 65535",
        "bad.yaml:3:3: gateway.prot: unknown key; did you mean port?",
    ]


def test_check_judges_the_address_of_redis_without_its_password(tmp_path: Path):
    """Nothing connects, and the problem says which part of the URL is wrong."""
    text = "gateway: {broker: {type: redis, redis: {url: 'redis://:hidden@host/name'}}}\n"
    (tmp_path / "gatewatch.yaml").write_text(text, encoding="utf-8")

    done = gatewatch_inside("config", "check", directory=tmp_path)

    assert done.code == 1
    assert "gateway.broker.redis.url: it has 'name' where the number of a database" in done.err
    assert "hidden" not in done.err


def test_check_looks_into_the_files_that_are_named(tmp_path: Path):
    """What is wrong in rule files and the Alertmanager configuration is found as well."""
    text = "alerts: {rule_files: [r.yaml, '*.rules'], alertmanager_config: am.yaml}\n"
    (tmp_path / "gatewatch.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "r.yaml").write_text("groups: [{nam: a}]\n", encoding="utf-8")

    done = gatewatch_inside("config", "check", directory=tmp_path)

    assert done.code == 1
    assert f"{tmp_path}/r.yaml:1:" in done.err
    message = f"alerts.alertmanager_config: there is no such file: {tmp_path}/am.yaml"
    assert f"gatewatch.yaml:1:64: {message}\n" in done.err


def test_check_misses_a_rule_file(tmp_path: Path):
    """A rule file that is not there is a problem where it is named, and for serve as well."""
    message = f"alerts.rule_files[0]: there is no such rule file: {tmp_path}/r.yaml\n"
    setting = "alerts.rule_files=[r.yaml]"
    given = gatewatch_inside("config", "check", "--set", setting, directory=tmp_path)
    (tmp_path / "gatewatch.yaml").write_text("alerts:\n  rule_files: [r.yaml]\n")
    written = gatewatch_inside("config", "check", directory=tmp_path)
    served = gatewatch("serve", directory=tmp_path)

    assert (given.code, given.err) == (1, f"--set alerts.rule_files: {message}")
    assert (written.code, written.err) == (1, f"gatewatch.yaml:2:16: {message}")
    assert (served.code, served.err) == (2, f"gatewatch.yaml:2:16: {message}")


def test_check_knows_what_serve_refuses(tmp_path: Path):
    """Settings and variables of telemetry and storage are looked at as a start does."""
    text = "telemetry:\n  otlp: {endpoint: 'localhost:4318'}\nalerts: {storage_url: 'foo://bar'}\n"
    (tmp_path / "gatewatch.yaml").write_text(text, encoding="utf-8")
    environ = {"OTEL_TRACES_SAMPLER": "foo"}

    checked = gatewatch("config", "check", directory=tmp_path, environ=environ)
    served = gatewatch("serve", directory=tmp_path, environ=environ)

    assert (checked.code, served.code) == (1, 2)
    assert checked.err == served.err
    assert [line.rpartition(": ")[0].split(": ")[0] for line in checked.err.splitlines()] == [
        "OTEL_TRACES_SAMPLER",
        "gatewatch.yaml:2:20",
        "gatewatch.yaml:3:23",
    ]


def test_check_warns_of_what_is_doubtful(tmp_path: Path):
    """A warning has its place and leaves the exit code alone."""
    (tmp_path / "gatewatch.yaml").write_text("gateway:\n  token: {hmac_secret: hush}\n")

    done = gatewatch_inside("config", "check", directory=tmp_path)
    data = gatewatch_inside("config", "check", "--json", directory=tmp_path)

    assert (done.code, done.out) == (0, "gatewatch.yaml: good\n")
    assert done.err == (
        "gatewatch.yaml:2:24: warning: gateway.token.hmac_secret: too short to be safe; "
        "take 32 bytes or more\n"
    )
    assert json.loads(data.out)["ok"]
    assert json.loads(data.out)["warnings"][0]["line"] == 2


def test_check_for_machines(tmp_path: Path):
    """With --json the same problems are data, and the exit code is the same."""
    (tmp_path / "gatewatch.yaml").write_text("gateway: {port: x}\n", encoding="utf-8")

    done = gatewatch_inside("config", "check", "--json", directory=tmp_path)

    assert done.code == 1
    assert json.loads(done.out)["problems"][0] == {
        "file": "gatewatch.yaml",
        "line": 1,
        "column": 17,
        "message": "gateway.port: got 'x', expected a whole number from 0 to 65535",
    }


def test_check_of_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path):
    """Nothing was checked, so the exit code is 2."""
    done = gatewatch_inside("config", "check", "none.yaml", directory=tmp_path)

    assert done.code == 2
    assert "none.yaml' does not exist" in done.err


def test_schema_is_json(tmp_path: Path):
    """The schema is JSON and describes the file."""
    done = gatewatch_inside("config", "schema", directory=tmp_path)

    schema = json.loads(done.out)
    assert done.code == 0
    assert schema["title"] == "gatewatch.yaml"
    assert schema["$defs"]["GatewaySettings"]["properties"]["port"]["maximum"] == 65535


def test_show_prints_what_is_in_effect_and_where_it_was_set(tmp_path: Path):
    """File, environment and --set come together; secrets are hidden."""
    (tmp_path / "gatewatch.yaml").write_text("gateway: {api_key: s3cret}\n", encoding="utf-8")

    done = gatewatch(
        "config",
        "show",
        "--set",
        "batching.max_delay=20ms",
        directory=tmp_path,
        environ={"GATEWATCH_GATEWAY__PORT": "9000"},
    )

    assert done.code == 0
    assert "  port: 9000  # GATEWATCH_GATEWAY__PORT\n" in done.out
    assert "  max_delay: 20ms  # --set batching.max_delay\n" in done.out
    assert "  api_key: '***'  # gatewatch.yaml:1\n" in done.out
    assert yaml.safe_load(done.out)["service"]["data_dir"] == str(tmp_path / "data")


def test_show_for_machines(tmp_path: Path):
    """With --json the settings are one object."""
    done = gatewatch_inside("config", "show", "--json", directory=tmp_path)

    assert json.loads(done.out)["gateway"]["idle_timeout"] == "5m"


def test_show_of_a_bad_configuration_is_a_configuration_error(tmp_path: Path):
    """A command that needs settings and cannot have them exits with 2, without a traceback."""
    done = gatewatch_inside("config", "show", "-c", "none.yaml", directory=tmp_path)

    assert done.code == 2
    assert done.err == "none.yaml: cannot read it: No such file or directory\n"


def test_check_and_show_take_the_file_either_way(tmp_path: Path):
    """As an argument or with --config; both at once is a usage error."""
    (tmp_path / "other.yaml").write_text("gateway: {port: 9000}\n", encoding="utf-8")
    for command, printed in (("check", "other.yaml: good\n"), ("show", "port: 9000")):
        argument = gatewatch_inside("config", command, "other.yaml", directory=tmp_path)
        option = gatewatch_inside("config", command, "-c", "other.yaml", directory=tmp_path)
        both = gatewatch_inside("config", command, "other.yaml", "-c", "x", directory=tmp_path)

        assert (argument.code, option.code, both.code) == (0, 0, 2)
        assert printed in argument.out
        assert argument.out == option.out
        assert "name one file" in both.err

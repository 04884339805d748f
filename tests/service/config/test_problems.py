"""What is said about settings that cannot be used: place, key, what was given, what is allowed."""

from pathlib import Path

import pytest

from tests.support.configuration import load_text, problems_of

WRONG_VALUES = [
    ("gateway: {port: 70000}", "1:17: gateway.port: got 70000, expected a whole number from 0 to"),
    ("gateway: {port: true}", "1:17: gateway.port: got true, expected a whole number"),
    ("gateway: {port: }", "1:17: gateway.port: got nothing, expected a whole number"),
    ("gateway: {max_connections: 0}", "got 0, expected a whole number of at least 1"),
    ("gateway: {allow_anonymous: maybe}", "got 'maybe', expected true or false"),
    ("gateway: {host: 1}", "1:17: gateway.host: got 1, expected text (put it in quotes)"),
    ("alerts: {promql_features: [x]}", "1:28: alerts.promql_features[0]: 'x' is no feature that"),
    ("gateway: {ping_interval: 5}", "gateway.ping_interval: 5 has no unit; write 5s for"),
    ("gateway: {ping_interval: 5x}", "'5x' is not a duration; write numbers with the units"),
    ("gateway: {ping_interval: 0s}", "got '0s', expected a duration such as 30s or 1h30m, and mo"),
    ("gateway: {ping_interval: [1]}", "[1] is not a duration; write one such as 30s or 1h30m"),
    ("gateway: {max_message_size: 64k}", "'64k' is not a size; write one such as 512B, 64KiB"),
    ("gateway: {max_message_size: 0}", "got 0, expected a size such as 512B or 64KiB, and more th"),
    ("gateway: {max_queue_size: 4KiB}", "4KiB has no room for a message; 16KiB are"),
    ("gateway: {namespaces: [{name: '!'}]}", "gateway.namespaces[0].name: '!' is no name for a na"),
    (
        "gateway: {namespaces: [3]}",
        "gateway.namespaces[0]: got 3, expected a section with keys",
    ),
    ("gateway: {allowed_origins: x}", "gateway.allowed_origins: got 'x', expected a list"),
    ("gateway: [1]", "1:10: gateway: got a list, expected a section with keys such as host, port"),
    ("telemetry: {sampling: 1.5}", "got 1.5, expected a number from 0 to 1"),
    ("telemetry: {sampling: .nan}", "got nan, expected a number from 0 to 1"),
    ("telemetry: {sampling_rules: [{name: a}]}", "sampling_rules[0].ratio: missing"),
    ("telemetry: {sampling_rules: [{ratio: 0}]}", "telemetry.sampling itself: give name or names"),
    (
        "telemetry: {sampling_rules: [{ratio: 0, namespace: 'a:'}]}",
        "telemetry.sampling_rules[0].namespace: 'a:' is no name for a namespace",
    ),
    ("telemetry: {log_level: loud}", "got 'loud', expected one of debug, info, warning, error"),
    ("alerts: {alertmanager_config: 3}", "got 3, expected the path of a file or directory"),
    ("service: {data_dir: 2026-01-02}", "got the date 2026-01-02, expected the path of"),
    ("service: {name: [1]}", "got a list, expected text"),
    ("service: {name: {a: 1}}", "got a mapping, expected text"),
    (
        "health: {checks: [{name: a}]}",
        "1:19: health.checks[0]: nothing says what the check a looks at; give it one of http",
    ),
    ("health: {checks: [{name: a/b, http: {url: 'http://x'}}]}", "'a/b' is no name for a check"),
    (
        "health:\n  checks:\n  - {name: a, http: {url: x}}",
        "3:27: health.checks[0].http.url: got 'x', expected a URL such as http://127.0.0.1:8080/",
    ),
    ("health: {checks: [{name: a, http: {url: 'ftp://x'}}]}", "got 'ftp://x', expected a URL"),
    ("gateway: {1: 2}", "gatewatch.yaml:1:11: gateway: the key 1 is not text; put it in quotes"),
    ("on: 2", "gatewatch.yaml:1:1: the key true is not text; put it in quotes"),
    ("[1]", "gatewatch.yaml:1:1: got a list, expected a section with the keys service, gateway"),
    ("gateway: {port: 1\n", "gatewatch.yaml:2:1: not valid YAML"),
]


@pytest.mark.parametrize(("text", "said"), WRONG_VALUES)
def test_says_what_was_given_and_what_is_expected(tmp_path: Path, text: str, said: str):
    """Each kind of wrong value is named with its place, its key and what would be right."""
    (problem,) = problems_of(tmp_path, text)

    assert said in problem
    assert problem.startswith("gatewatch.yaml:")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gatewy: {}", "gatewatch.yaml:1:1: gatewy: unknown key; did you mean gateway?"),
        ("gateway: {prot: 1}", "1:11: gateway.prot: unknown key; did you mean port?"),
        (
            "operations: {zzz: 1}",
            "operations.zzz: unknown key; this section has the keys host, port, auth",
        ),
        ("health: {checks: [{name: a, http: {url: 'http://x', urk: 1}}]}", "did you mean url?"),
    ],
)
def test_suggests_known_keys(tmp_path: Path, text: str, said: str):
    """An unknown key leads to the nearest known one, or to the keys of its section."""
    (problem,) = problems_of(tmp_path, text)

    assert said in problem


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("GATEWATCH_GATEWAY__PRT", "names no setting; did you mean GATEWATCH_GATEWAY__PORT?"),
        ("GATEWATCH_GATEWAY_PORT", "names no setting; did you mean GATEWATCH_GATEWAY__PORT?"),
        ("GATEWATCH_GATEWAY__PORT__X", "names no setting; did you mean GATEWATCH_GATEWAY__PORT?"),
        ("GATEWATCH_Q", "names no setting; `gatewatch config schema` shows every key"),
    ],
)
def test_suggests_known_variables(tmp_path: Path, variable: str, said: str):
    """An unknown variable with our prefix is an error that leads to the right one."""
    assert problems_of(tmp_path, environ={variable: "1"}) == [f"{variable}: {said}"]


CONTRADICTIONS = [
    (
        "gateway: {pong_timeout: 30s}",
        "1:25: gateway.pong_timeout: a client must have answered a ping before the next one",
    ),
    ("gateway: {ping_interval: 2s}", "1:26: gateway.ping_interval: a client must have answered"),
    (
        "gateway: {namespaces: [{name: ab}, {name: cd}, {name: ab}]}",
        "1:55: gateway.namespaces[2].name: the namespace ab stands there twice",
    ),
    (
        "health:\n  checks:\n  - {name: a, http: {url: 'http://x'}, depends_on: [b]}",
        "3:53: health.checks[0].depends_on[0]: there is no check b; there are a, gateway-",
    ),
    (
        "health:\n  checks:\n"
        "  - {name: a, http: {url: 'http://x'}, depends_on: [http-pool, b]}\n"
        "  - {name: b, http: {url: 'http://x'}, depends_on: [a]}",
        "3:64: health.checks[0].depends_on[1]: checks depend on each other: a needs b needs a",
    ),
    (
        "health:\n  maintenance:\n  - {daily: '12:00', duration: 1h, cron: '* * * * *'}",
        "3:13: health.maintenance[0].daily: the window has daily and cron; give it one of",
    ),
    (
        "health:\n  maintenance:\n  - {daily: '24:00', duration: 1h}",
        "3:13: health.maintenance[0].daily: '24:00' is no time of day; write one such as",
    ),
    (
        "health: {checks: [{name: a, http: {url: 'http://x'}}, {name: a, http: {url: 'http://x'}}]}",
        "health.checks[1].name: the name a stands there twice",
    ),
    ("operations: {host: 0.0.0.0}", "operations.host: 0.0.0.0 is open to the network: set oper"),
    ("operations: {host: ''}", "operations.host: every address is open to the network"),
    ("operations: {auth: {username: x}}", "operations.auth.username: username and password are"),
    ("operations: {auth: {password: x}}", "operations.auth.password: username and password are"),
    (
        "batching: {max_bytes: 2MiB}",
        "1:23: batching.max_bytes: a client whose queue is smaller than a batch is disconnected",
    ),
    ("gateway: {max_queue_size: 32KiB}", "gateway.max_queue_size: a client whose queue is sm"),
    (
        "gateway: {host: 0.0.0.0, api_key: dev-key}",
        "gateway.api_key: the key of the shipped example is known to everyone",
    ),
]


@pytest.mark.parametrize(("text", "said"), CONTRADICTIONS)
def test_refuses_values_that_do_not_go_together(tmp_path: Path, text: str, said: str):
    """Values that are fine alone and wrong together are reported at one that was given."""
    (problem,) = problems_of(tmp_path, text)

    assert said in problem


def test_contradictions_are_found_beside_other_problems(tmp_path: Path):
    """A wrong value somewhere does not hide what does not go together elsewhere."""
    problems = problems_of(
        tmp_path,
        "batching: {max_bytes: x}\ngateway: {pong_timeout: 30s}\noperations: {host: 0.0.0.0}\n",
    )

    assert [problem.split(": ")[1] for problem in problems] == [
        "batching.max_bytes",
        "gateway.pong_timeout",
        "operations.host",
    ]


def test_a_wrong_value_leads_to_no_second_problem(tmp_path: Path):
    """What is wrong already is not compared with its neighbours."""
    problems = problems_of(
        tmp_path,
        "gateway: {ping_interval: x, pong_timeout: 30s}\n"
        "operations: {host: 0.0.0.0, auth: {bearer_token: 1}}\n",
    )

    assert len(problems) == 2


@pytest.mark.parametrize(
    "text",
    [
        "gateway: {api_key: 123456789}",
        "gateway: {token: 123456789}",
        "operations: {auth: 123456789}",
        "telemetry: {otlp: {headers: {a: 123456789}}}",
        "telemetry: {otlp: {headers: 123456789}}",
    ],
)
def test_never_prints_a_secret(tmp_path: Path, text: str):
    """What was given in the place of a secret, or around it, is not repeated."""
    (problem,) = problems_of(tmp_path, text)

    assert "123456789" not in problem
    assert "got ***, expected" in problem


def test_never_prints_a_password_in_a_url(tmp_path: Path):
    """A URL that is not allowed is shown without its password."""
    text = "health: {checks: [{name: a, http: {url: 'ftp://me:hunter2@x/'}}]}"

    (problem,) = problems_of(tmp_path, text)

    assert "got 'ftp://me:***@x/'" in problem


@pytest.mark.parametrize(
    ("secret", "said"), [("''", "is empty"), ("'***'", "only stands for a secret that was hidden")]
)
def test_refuses_secrets_that_are_none(tmp_path: Path, secret: str, said: str):
    """An empty key would let everyone in, and asterisks were copied from a listing."""
    (problem,) = problems_of(tmp_path, f"gateway: {{api_key: {secret}}}")

    assert said in problem


def test_shows_the_beginning_of_a_long_value(tmp_path: Path):
    """A value of a thousand characters is shortened."""
    (problem,) = problems_of(tmp_path, f"telemetry: {{log_level: {'x' * 1000}}}")

    assert len(problem) < 250


def test_a_layer_cannot_hide_a_broken_section(tmp_path: Path):
    """A variable for a key of a section that is no section leaves the mistake to be found."""
    environ = {"GATEWATCH_GATEWAY__PORT": "9"}

    (problem,) = problems_of(tmp_path, "gateway: 5\n", environ=environ)

    assert problem.startswith("gatewatch.yaml:1:10: gateway: got ***, expected a section")


def test_broken_yaml_in_a_variable(tmp_path: Path):
    """A variable that is to hold a list and is no YAML says so."""
    environ = {"GATEWATCH_ALERTS__RULE_FILES": "[a"}

    (problem,) = problems_of(tmp_path, environ=environ)

    assert problem.startswith("GATEWATCH_ALERTS__RULE_FILES: alerts.rule_files: not valid YAML")


def test_a_second_document_is_refused(tmp_path: Path):
    """What stands in it would be ignored, so it is an error where it starts."""
    message = "a second YAML document starts here; put all settings into one"
    text = "# all of it\n---\ngateway: {prot: 1}\n---\ngateway: {port: 2}\n"

    assert problems_of(tmp_path, text) == [
        "gatewatch.yaml:3:11: gateway.prot: unknown key; did you mean port?",
        f"gatewatch.yaml:4:1: {message}",
    ]
    assert problems_of(tmp_path, "---\n---\na: 1\n") == [f"gatewatch.yaml:2:1: {message}"]


def test_credentials_of_a_check_stand_in_one_place(tmp_path: Path):
    """Both in the URL and in a header is a contradiction, told at the header."""
    text = """\
health:
  checks:
    - name: web
      http:
        url: http://me:hush@localhost/
        headers: {authorization: Bearer hush}
"""

    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith(
        "gatewatch.yaml:6:34: health.checks[0].http.headers.authorization: headers.authorization "
    )
    assert "hush" not in problem


def test_public_keys_have_one_source(tmp_path: Path):
    """Those of a key set and those in the file could contradict each other."""
    text = "gateway: {token: {eddsa_public_key: x, jwks_url: 'http://localhost/'}}\n"

    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith(
        "gatewatch.yaml:1:37: gateway.token.eddsa_public_key: public keys come from jwks_url or"
    )


def test_a_private_key_is_told_without_it(tmp_path: Path):
    """It may be what was at hand, and belongs to who signs."""
    text = "gateway: {token: {rsa_public_key: '-----BEGIN PRIVATE KEY-----hush'}}\n"

    (problem,) = problems_of(tmp_path, text)
    assert "gateway.token.rsa_public_key: is a private key" in problem
    assert "hush" not in problem


def test_subscription_tokens_need_a_key_of_their_own(tmp_path: Path):
    """What else is required of them would be required of none."""
    (problem,) = problems_of(tmp_path, "gateway: {subscription_token: {issuer: me}}\n")

    assert "gateway.subscription_token: there is no key to go with what is required" in problem
    with_key = "gateway: {subscription_token: {issuer: me, hmac_secret: hush}}\n"
    assert load_text(tmp_path, with_key).settings.gateway.subscription_token.has_keys


def test_a_url_that_is_none_is_told_without_its_secrets(tmp_path: Path):
    """What was given is repeated, but for password and query."""
    text = "health: {checks: [{name: web, http: {url: 'htp://me:hush@h/p?token=hush'}}]}\n"

    (problem,) = problems_of(tmp_path, text)
    assert "got 'htp://me:***@h/p?token=***', expected a URL such as" in problem

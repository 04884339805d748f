BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE alert_state (
	group_key TEXT NOT NULL, 
	rule TEXT NOT NULL, 
	fingerprint VARCHAR(32) NOT NULL, 
	labels TEXT NOT NULL, 
	annotations TEXT NOT NULL, 
	value VARCHAR(32) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	active_at_ms BIGINT NOT NULL, 
	fired_at_ms BIGINT, 
	resolved_at_ms BIGINT, 
	keep_firing_since_ms BIGINT, 
	last_sent_at_ms BIGINT NOT NULL, 
	PRIMARY KEY (group_key, rule, fingerprint)
);
INSERT INTO "alert_state" VALUES('rules.yaml;group','alert;Down','6a344d6ba23107b009f812f8634a98ab','[["alertname","Down"],["path","C:\\ \"ü\"\n"]]','[["summary","text 🚨"]]','1.5','firing',1699999940000,1700000000000,NULL,NULL,0);
CREATE TABLE notification_log (
	group_key TEXT NOT NULL, 
	channel TEXT NOT NULL, 
	notification_id VARCHAR(36) NOT NULL, 
	notified_at_ms BIGINT NOT NULL, 
	expires_at_ms BIGINT NOT NULL, 
	group_labels TEXT NOT NULL, 
	firing TEXT NOT NULL, 
	resolved TEXT NOT NULL, 
	PRIMARY KEY (group_key, channel)
);
INSERT INTO "notification_log" VALUES('{}:{path="C:\\ \"ü\"\n"}','ops/webhook/0','n1',1700000000000,2700000000000,'{"path": "C:\\ \"\u00fc\"\n"}','[{"labels": {"alertname": "Down", "path": "C:\\ \"\u00fc\"\n"}, "annotations": {"summary": "text \ud83d\udea8"}, "starts_at_ms": 1700000000000, "ends_at_ms": null, "generator_url": ""}]','["aa"]');
INSERT INTO "notification_log" VALUES('{}:{path="C:\\ \"ü\"\n"}','ops/webhook/2','n3',1700000000000,2700000000000,'{"path": "C:\\ \"\u00fc\"\n"}','[{"labels": {"alertname": "Down", "path": "C:\\ \"\u00fc\"\n"}, "annotations": {"summary": "text \ud83d\udea8"}, "starts_at_ms": 1700000000000, "ends_at_ms": null, "generator_url": ""}]','["aa"]');
CREATE TABLE outbox (
	sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(36) NOT NULL, 
	channel TEXT NOT NULL, 
	group_key TEXT NOT NULL, 
	notification TEXT NOT NULL, 
	created_at_ms BIGINT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	attempts INTEGER NOT NULL, 
	reason VARCHAR(32) NOT NULL, 
	last_error TEXT NOT NULL, 
	UNIQUE (id)
);
INSERT INTO "outbox" VALUES(2,'n2','ops/webhook/0','{}:{path="C:\\ \"ü\"\n"}','{"id": "n2", "channel": "ops/webhook/0", "receiver": "ops", "group_key": "{}:{path=\"C:\\\\ \\\"\u00fc\\\"\\n\"}", "group_labels": {"path": "C:\\ \"\u00fc\"\n"}, "alerts": [{"labels": {"alertname": "Down", "path": "C:\\ \"\u00fc\"\n"}, "annotations": {"summary": "text \ud83d\udea8"}, "starts_at_ms": 1700000000000, "ends_at_ms": null, "generator_url": ""}], "created_at_ms": 1700000000000, "trace_parent": "00-1-2-01"}',1700000000000,'failed',1,'refused','the answer was 404');
INSERT INTO "outbox" VALUES(3,'n3','ops/webhook/0','{}:{path="C:\\ \"ü\"\n"}','{"id": "n3", "channel": "ops/webhook/0", "receiver": "ops", "group_key": "{}:{path=\"C:\\\\ \\\"\u00fc\\\"\\n\"}", "group_labels": {"path": "C:\\ \"\u00fc\"\n"}, "alerts": [{"labels": {"alertname": "Down", "path": "C:\\ \"\u00fc\"\n"}, "annotations": {"summary": "text \ud83d\udea8"}, "starts_at_ms": 1700000000000, "ends_at_ms": null, "generator_url": ""}], "created_at_ms": 1700000000000, "trace_parent": "00-1-2-01"}',1700000000000,'waiting',0,'','');
CREATE TABLE rule_group (
	group_key TEXT NOT NULL, 
	evaluated_at_ms BIGINT NOT NULL, 
	PRIMARY KEY (group_key)
);
INSERT INTO "rule_group" VALUES('rules.yaml;group',1700000000000);
CREATE INDEX outbox_by_state ON outbox (state, sequence);
CREATE INDEX notification_log_by_expiry ON notification_log (expires_at_ms);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('outbox',3);
COMMIT;

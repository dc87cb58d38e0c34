BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE meters (
	id TEXT NOT NULL, 
	revision INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	protocol TEXT NOT NULL, 
	framing TEXT NOT NULL, 
	endpoint JSON NOT NULL, 
	params JSON NOT NULL, 
	profile_id TEXT NOT NULL, 
	identity JSON NOT NULL, 
	poll_seconds FLOAT NOT NULL, 
	enabled BOOLEAN NOT NULL, 
	tags JSON NOT NULL, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
INSERT INTO "meters" VALUES('m1',2,'Hall','dlms','wrapper','{"kind": "tcp", "host": "192.0.2.1", "port": 4059, "path": "", "baud": 9600, "line": "8N1"}','{"client": "16"}','','{"serial": "12345678", "manufacturer": "", "model": "", "firmware": "", "logical_device_name": "", "system_title": "", "meter_address": ""}',60.0,1,'["north"]');
CREATE TABLE readings (
	quarter INTEGER NOT NULL, 
	point BIGINT NOT NULL, 
	value BLOB, 
	note BIGINT NOT NULL, 
	PRIMARY KEY (quarter, point)
)
 WITHOUT ROWID

;
INSERT INTO "readings" VALUES(8764,100663296,12345678,-2014);
INSERT INTO "readings" VALUES(8768,33554555,230400,122880008);
INSERT INTO "readings" VALUES(8768,33614555,9e999,128);
INSERT INTO "readings" VALUES(8768,67108987,1,122880016);
CREATE TABLE receipts (
	quarter INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	received_at BIGINT NOT NULL, 
	source INTEGER NOT NULL, 
	PRIMARY KEY (quarter, number)
)
 WITHOUT ROWID

;
INSERT INTO "receipts" VALUES(8764,1,1767225700000,2);
CREATE TABLE secrets (
	meter_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	sealed BLOB NOT NULL, 
	PRIMARY KEY (meter_id, name)
)
 WITHOUT ROWID

;
INSERT INTO "secrets" VALUES('m1','ek',X'01A20B4C09AB93B32FB14C041D7624CE0DCEDC24C462FFC4360BA7C4CA5B26F532C753E6CEB1E8C67279910673');
CREATE TABLE series (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	meter_id TEXT NOT NULL, 
	quantity TEXT NOT NULL, 
	measured_at BIGINT, 
	received_at BIGINT, 
	value BLOB, 
	note INTEGER, 
	CONSTRAINT uq_series_meter_id_quantity UNIQUE (meter_id, quantity)
);
INSERT INTO "series" VALUES(1,'m1','voltage_l1',1767225660123,1767225660123,9e999,128);
INSERT INTO "series" VALUES(2,'m1','relay',1767225600123,1767225660123,1,16);
INSERT INTO "series" VALUES(3,'m1','active_energy_import',1767139200000,1767225700000,12345678,34);
CREATE TABLE vault_proof (
	id INTEGER NOT NULL, 
	sealed BLOB NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "vault_proof" VALUES(1,X'0156549E396FE1EBDC00FDC21C6A636962BFEB491D7F530B3E91B60E9FFA6885FA2CC667ED2F893FC892');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('series',3);
COMMIT;

-- The tables as fedloom's commit 171a1f4 made them, spaces included: the second migration begins with this text.
CREATE TABLE devices (
	id BLOB NOT NULL, 
	name TEXT NOT NULL, 
	credential BLOB NOT NULL, 
	revoked BOOLEAN NOT NULL, 
	tls_key BLOB NOT NULL, 
	created_at FLOAT NOT NULL, 
	checksum INTEGER NOT NULL GENERATED ALWAYS AS (fedloom_row('devices', id, name, credential, revoked, tls_key, created_at)) STORED, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
CREATE INDEX ix_devices_tls_key ON devices (tls_key);
CREATE TABLE jobs (
	number INTEGER NOT NULL, 
	id BLOB NOT NULL, 
	name TEXT NOT NULL, 
	definition BLOB NOT NULL, 
	first_version INTEGER NOT NULL, 
	started_at FLOAT NOT NULL, 
	checksum INTEGER NOT NULL GENERATED ALWAYS AS (fedloom_row('jobs', number, id, name, definition, first_version, started_at)) STORED, 
	PRIMARY KEY (number), 
	UNIQUE (id)
);
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	checksum INTEGER NOT NULL GENERATED ALWAYS AS (fedloom_row('meta', key, value)) STORED, 
	PRIMARY KEY ("key")
);
CREATE TABLE models (
	job_name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	hash BLOB NOT NULL, 
	path TEXT NOT NULL, 
	round INTEGER NOT NULL, 
	devices INTEGER NOT NULL, 
	samples INTEGER NOT NULL, 
	metrics BLOB, 
	checksum INTEGER NOT NULL GENERATED ALWAYS AS (fedloom_row('models', job_name, version, hash, path, round, devices, samples, metrics)) STORED, 
	PRIMARY KEY (job_name, version)
);
CREATE TABLE certificates (
	serial TEXT NOT NULL, 
	device BLOB NOT NULL, 
	certificate BLOB NOT NULL, 
	not_after INTEGER NOT NULL, 
	checksum INTEGER NOT NULL GENERATED ALWAYS AS (fedloom_row('certificates', serial, device, certificate, not_after)) STORED, 
	PRIMARY KEY (serial), 
	FOREIGN KEY(device) REFERENCES devices (id)
);
CREATE INDEX ix_certificates_device ON certificates (device);
CREATE TABLE rounds (
	manifest_version INTEGER NOT NULL, 
	manifest_hash BLOB NOT NULL, 
	manifest BLOB NOT NULL, 
	job BLOB NOT NULL, 
	round INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	phase TEXT NOT NULL, 
	round_key BLOB, 
	brief_key BLOB NOT NULL, 
	model_key BLOB, 
	model_version INTEGER, 
	target INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	opened_at FLOAT NOT NULL, 
	closed_at FLOAT, 
	metrics BLOB, 
	strategy_state BLOB, 
	build TEXT NOT NULL, 
	checksum INTEGER NOT NULL GENERATED ALWAYS AS (fedloom_row('rounds', manifest_version, manifest_hash, manifest, job, round, attempt, phase, round_key, brief_key, model_key, model_version, target, status, reason, opened_at, closed_at, metrics, strategy_state, build)) STORED, 
	PRIMARY KEY (manifest_version), 
	UNIQUE (job, round, attempt, phase), 
	CHECK (status in ('open', 'done', 'aborted')), 
	FOREIGN KEY(job) REFERENCES jobs (id)
);
CREATE INDEX ix_rounds_job ON rounds (job);
CREATE TABLE tokens (
	id BLOB NOT NULL, 
	secret_hash BLOB NOT NULL, 
	name TEXT NOT NULL, 
	labels TEXT NOT NULL, 
	needs_approval BOOLEAN NOT NULL, 
	state TEXT NOT NULL, 
	created_at FLOAT NOT NULL, 
	expires_at INTEGER NOT NULL, 
	signing BLOB, 
	seal BLOB, 
	tls_key BLOB, 
	capabilities TEXT, 
	device BLOB, 
	checksum INTEGER NOT NULL GENERATED ALWAYS AS (fedloom_row('tokens', id, secret_hash, name, labels, needs_approval, state, created_at, expires_at, signing, seal, tls_key, capabilities, device)) STORED, 
	PRIMARY KEY (id), 
	CHECK (state in ('unused', 'pending', 'approved', 'joined', 'rejected', 'revoked')), 
	CONSTRAINT unused_is_unbound CHECK ((state = 'unused') <= (signing is null)), 
	CONSTRAINT joined_has_a_device CHECK ((state = 'joined') = (device is not null)), 
	FOREIGN KEY(device) REFERENCES devices (id)
);
CREATE INDEX ix_tokens_device ON tokens (device);
CREATE TABLE invitations (
	manifest_version INTEGER NOT NULL, 
	device BLOB NOT NULL, 
	train BOOLEAN NOT NULL, 
	evaluate BOOLEAN NOT NULL, 
	checksum INTEGER NOT NULL GENERATED ALWAYS AS (fedloom_row('invitations', manifest_version, device, train, evaluate)) STORED, 
	PRIMARY KEY (manifest_version, device), 
	FOREIGN KEY(manifest_version) REFERENCES rounds (manifest_version), 
	FOREIGN KEY(device) REFERENCES devices (id)
)
 WITHOUT ROWID;
CREATE TABLE updates (
	manifest_version INTEGER NOT NULL, 
	device BLOB NOT NULL, 
	digest BLOB NOT NULL, 
	verdict TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	samples INTEGER NOT NULL, 
	train_loss FLOAT NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	spool_offset INTEGER, 
	spool_length INTEGER, 
	counted_in INTEGER NOT NULL, 
	checksum INTEGER NOT NULL GENERATED ALWAYS AS (fedloom_row('updates', manifest_version, device, digest, verdict, reason, samples, train_loss, size_bytes, spool_offset, spool_length, counted_in)) STORED, 
	PRIMARY KEY (manifest_version, device), 
	FOREIGN KEY(manifest_version) REFERENCES rounds (manifest_version), 
	FOREIGN KEY(device) REFERENCES devices (id), 
	FOREIGN KEY(counted_in) REFERENCES rounds (manifest_version)
)
 WITHOUT ROWID;
CREATE INDEX ix_updates_counted_in ON updates (counted_in);

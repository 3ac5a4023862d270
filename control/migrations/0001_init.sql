-- Times are milliseconds since 1970 UTC. Secrets are here as hashes or sealed, never in clear.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE orgs (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    org TEXT NOT NULL REFERENCES orgs (id),
    label TEXT NOT NULL,
    hash BLOB NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;

CREATE TABLE live_inputs (
    id TEXT PRIMARY KEY,
    external_id TEXT NOT NULL UNIQUE,
    org TEXT NOT NULL REFERENCES orgs (id),
    name TEXT NOT NULL,
    ingest TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX live_inputs_by_age ON live_inputs (org, created_at DESC, id);

-- The version in force has no end; a replaced one stays until the end of its grace.
CREATE TABLE stream_keys (
    id TEXT PRIMARY KEY,
    input TEXT NOT NULL REFERENCES live_inputs (id) ON DELETE CASCADE,
    hash BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    ends_at INTEGER
) STRICT;

CREATE UNIQUE INDEX stream_keys_in_force ON stream_keys (input) WHERE ends_at IS NULL;
CREATE INDEX stream_keys_by_input ON stream_keys (input);

CREATE TABLE signing_keys (
    id TEXT PRIMARY KEY,
    org TEXT NOT NULL REFERENCES orgs (id),
    alg TEXT NOT NULL,
    "use" TEXT NOT NULL,
    label TEXT NOT NULL,
    public_pem TEXT NOT NULL,
    sealed BLOB NOT NULL,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX signing_keys_by_age ON signing_keys (org, created_at DESC, id);

CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

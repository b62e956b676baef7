//! The tables, as steps that are only ever added to: a file's `user_version` is the number of steps that it has had.

pub(super) const STEPS: [&str; 10] =
    [FIRST, DEAD_LETTERS, KINDS, SHORT_KEYS, AUDIT, USES, REDRIVES, KINDS_FOR_GOOD, REJECTED, REJECTED_BODIES];

/// Columns of bytes that may be large come last: a list reads rows without them. Indexes end in what lists are sorted by.
const FIRST: &str = "
CREATE TABLE origin (log TEXT NOT NULL) STRICT;
CREATE TABLE offsets (topic TEXT, partition INTEGER, next INTEGER NOT NULL, PRIMARY KEY (topic, partition))
  STRICT, WITHOUT ROWID;

CREATE TABLE events (
  org TEXT NOT NULL, source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, entity_id TEXT, entity_rid TEXT,
  correlation_id TEXT, causation_id TEXT, namespace TEXT, dataschema TEXT, trace_id TEXT, time INTEGER NOT NULL,
  at INTEGER NOT NULL, partition INTEGER NOT NULL, record INTEGER NOT NULL, content_type TEXT NOT NULL, payload BLOB) STRICT;
CREATE UNIQUE INDEX events_triple ON events (org, source, id);
CREATE INDEX events_at ON events (at, id);
CREATE INDEX events_id ON events (id);
CREATE INDEX events_org ON events (org, at, id);
CREATE INDEX events_type ON events (type, at, id);
CREATE INDEX events_org_type ON events (org, type, at, id);
CREATE INDEX events_entity ON events (entity_id, at, id) WHERE entity_id IS NOT NULL;
CREATE INDEX events_correlation ON events (correlation_id, at, id) WHERE correlation_id IS NOT NULL;
CREATE INDEX events_bodies ON events (at) WHERE payload IS NOT NULL;

CREATE TABLE deliveries (
  id TEXT NOT NULL, org TEXT, event_id TEXT, source TEXT, type TEXT, entity_id TEXT, entity_rid TEXT, correlation_id TEXT,
  trace_id TEXT, integration_id TEXT, action_name TEXT, trigger_type TEXT,
  integration_name TEXT, target_url TEXT, http_method TEXT, max_attempts INTEGER, tried INTEGER NOT NULL,
  status TEXT NOT NULL, category TEXT, error TEXT, response_status INTEGER, duration_ms REAL, attempts INTEGER NOT NULL,
  next_attempt_at INTEGER, delivered_at INTEGER,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, step INTEGER NOT NULL, step_record INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX deliveries_id ON deliveries (id);
CREATE INDEX deliveries_event ON deliveries (event_id);
CREATE INDEX deliveries_created ON deliveries (created_at, id);
CREATE INDEX deliveries_updated ON deliveries (updated_at);
CREATE INDEX deliveries_org ON deliveries (org, created_at, id);
CREATE INDEX deliveries_status ON deliveries (status, created_at, id);
CREATE INDEX deliveries_org_status ON deliveries (org, status, created_at, id);
CREATE INDEX deliveries_integration ON deliveries (integration_id, created_at, id);
CREATE INDEX deliveries_integration_status ON deliveries (integration_id, status, created_at, id);
CREATE INDEX deliveries_type ON deliveries (type, created_at, id);
CREATE INDEX deliveries_category ON deliveries (category, created_at, id) WHERE category IS NOT NULL;
CREATE INDEX deliveries_entity ON deliveries (entity_id, created_at, id) WHERE entity_id IS NOT NULL;
CREATE INDEX deliveries_correlation ON deliveries (correlation_id, created_at, id) WHERE correlation_id IS NOT NULL;

CREATE TABLE attempts (
  partition INTEGER NOT NULL, record INTEGER NOT NULL, delivery TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
  attempt INTEGER NOT NULL, outcome TEXT NOT NULL, status TEXT NOT NULL, started_at INTEGER NOT NULL,
  duration_ms REAL NOT NULL, next_attempt_at INTEGER, category TEXT, error TEXT, response_status INTEGER,
  response_encoding TEXT, response_truncated INTEGER, response_headers TEXT, response_body TEXT) STRICT;
CREATE UNIQUE INDEX attempts_place ON attempts (partition, record);
CREATE INDEX attempts_delivery ON attempts (delivery, record);
CREATE INDEX attempts_at ON attempts (at);
CREATE INDEX attempts_bodies ON attempts (at) WHERE response_body IS NOT NULL;

CREATE TABLE skips (
  partition INTEGER NOT NULL, record INTEGER NOT NULL, at INTEGER NOT NULL, org TEXT NOT NULL, source TEXT NOT NULL,
  event_id TEXT NOT NULL, integration_id TEXT, delivery TEXT, reason TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX skips_place ON skips (partition, record);
CREATE INDEX skips_event ON skips (event_id);
CREATE INDEX skips_at ON skips (at);

CREATE TABLE dead_letters (
  delivery TEXT NOT NULL, partition INTEGER NOT NULL, record INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX dead_letters_delivery ON dead_letters (delivery);
CREATE INDEX dead_letters_at ON dead_letters (at);

CREATE TABLE rejected (
  partition INTEGER NOT NULL, record INTEGER NOT NULL, at INTEGER NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL,
  message TEXT NOT NULL, topic TEXT NOT NULL, from_partition INTEGER NOT NULL, from_record INTEGER NOT NULL, org TEXT,
  event_id TEXT, type TEXT, headers TEXT NOT NULL, value BLOB) STRICT;
CREATE UNIQUE INDEX rejected_place ON rejected (partition, record);
CREATE INDEX rejected_at ON rejected (at, record);
CREATE INDEX rejected_from ON rejected (from_partition, from_record);
";

/// Few among many: found without a look at the others.
const DEAD_LETTERS: &str = "
CREATE INDEX deliveries_dead ON deliveries (created_at, id) WHERE (status IN ('FAILED', 'ABANDONED')) = 1;
CREATE INDEX deliveries_org_dead ON deliveries (org, created_at, id) WHERE (status IN ('FAILED', 'ABANDONED')) = 1;
";

/// Deliveries are of few kinds: one index by kind answers every combination of these filters, where one index for each
/// combination would be paid for at each write. Indexes that begin with another one's columns go, too, as does that of changes:
/// what was changed before a moment was made before it.
const KINDS: &str = "
CREATE TABLE kinds (
  id INTEGER PRIMARY KEY, org TEXT, type TEXT, integration_id TEXT, integration_name TEXT, status TEXT, category TEXT) STRICT;
INSERT INTO kinds (org, type, integration_id, integration_name, status, category)
  SELECT DISTINCT org, type, integration_id, integration_name, status, category FROM deliveries;
INSERT INTO kinds (org, type) SELECT DISTINCT org, type FROM events;
DROP INDEX deliveries_updated;
DROP INDEX deliveries_org;
DROP INDEX deliveries_status;
DROP INDEX deliveries_org_status;
DROP INDEX deliveries_integration;
DROP INDEX deliveries_integration_status;
DROP INDEX deliveries_type;
DROP INDEX deliveries_category;
DROP INDEX deliveries_dead;
DROP INDEX deliveries_org_dead;
DROP INDEX events_triple;
DROP INDEX events_id;
DROP INDEX events_org;
DROP INDEX events_type;
DROP INDEX events_org_type;
ALTER TABLE deliveries ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
CREATE INDEX kinds_all ON kinds (status, org, type, integration_id, integration_name, category);
UPDATE deliveries SET kind = (
  SELECT k.id FROM kinds k WHERE k.status IS deliveries.status AND k.org IS deliveries.org AND k.type IS deliveries.type
    AND k.integration_id IS deliveries.integration_id AND k.integration_name IS deliveries.integration_name
    AND k.category IS deliveries.category);
UPDATE events SET kind = (
  SELECT k.id FROM kinds k WHERE k.status IS NULL AND k.org IS events.org AND k.type IS events.type
    AND k.integration_id IS NULL);
CREATE UNIQUE INDEX events_triple ON events (id, org, source);
CREATE INDEX events_kind ON events (kind, at, id);
CREATE INDEX deliveries_kind ON deliveries (kind, created_at, id);
CREATE INDEX deliveries_error ON deliveries (created_at, id, error) WHERE error IS NOT NULL;
";

/// What an index holds is written again and again, with the pages that it falls on: ids of deliveries are 16 bytes and no text of
/// 36, rows of one moment are in the order they came in, which a row's number tells without the id, and an attempt is known by its
/// delivery and its place. Rows are put into new tables by age, so that neighbours in time are neighbours in the file.
const SHORT_KEYS: &str = "
DROP INDEX events_at;
DROP INDEX events_entity;
DROP INDEX events_correlation;
DROP INDEX events_kind;
CREATE INDEX events_at ON events (at);
CREATE INDEX events_entity ON events (entity_id, at) WHERE entity_id IS NOT NULL;
CREATE INDEX events_correlation ON events (correlation_id, at) WHERE correlation_id IS NOT NULL;
CREATE INDEX events_kind ON events (kind, at);

CREATE TABLE deliveries_short (
  id BLOB NOT NULL, org TEXT, event_id TEXT, source TEXT, type TEXT, entity_id TEXT, entity_rid TEXT, correlation_id TEXT,
  trace_id TEXT, integration_id TEXT, action_name TEXT, trigger_type TEXT,
  integration_name TEXT, target_url TEXT, http_method TEXT, max_attempts INTEGER, tried INTEGER NOT NULL,
  status TEXT NOT NULL, category TEXT, error TEXT, response_status INTEGER, duration_ms REAL, attempts INTEGER NOT NULL,
  next_attempt_at INTEGER, delivered_at INTEGER,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, step INTEGER NOT NULL, step_record INTEGER NOT NULL,
  kind INTEGER NOT NULL) STRICT;
INSERT INTO deliveries_short SELECT unhex(id, '-'), org, event_id, source, type, entity_id, entity_rid, correlation_id, trace_id,
    integration_id, action_name, trigger_type, integration_name, target_url, http_method, max_attempts, tried, status, category,
    error, response_status, duration_ms, attempts, next_attempt_at, delivered_at, created_at, updated_at, step, step_record, kind
  FROM deliveries ORDER BY created_at, id;
DROP TABLE deliveries;
ALTER TABLE deliveries_short RENAME TO deliveries;
CREATE UNIQUE INDEX deliveries_id ON deliveries (id);
CREATE INDEX deliveries_event ON deliveries (event_id);
CREATE INDEX deliveries_created ON deliveries (created_at);
CREATE INDEX deliveries_kind ON deliveries (kind, created_at);
CREATE INDEX deliveries_entity ON deliveries (entity_id, created_at) WHERE entity_id IS NOT NULL;
CREATE INDEX deliveries_correlation ON deliveries (correlation_id, created_at) WHERE correlation_id IS NOT NULL;
CREATE INDEX deliveries_error ON deliveries (created_at, error) WHERE error IS NOT NULL;

CREATE TABLE attempts_short (
  delivery BLOB NOT NULL, record INTEGER NOT NULL, partition INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
  attempt INTEGER NOT NULL, outcome TEXT NOT NULL, status TEXT NOT NULL, started_at INTEGER NOT NULL,
  duration_ms REAL NOT NULL, next_attempt_at INTEGER, category TEXT, error TEXT, response_status INTEGER,
  response_encoding TEXT, response_truncated INTEGER, response_headers TEXT, response_body TEXT) STRICT;
INSERT INTO attempts_short SELECT unhex(delivery, '-'), record, partition, at, kind, attempt, outcome, status, started_at,
    duration_ms, next_attempt_at, category, error, response_status, response_encoding, response_truncated, response_headers,
    response_body
  FROM attempts ORDER BY at;
DROP TABLE attempts;
ALTER TABLE attempts_short RENAME TO attempts;
CREATE UNIQUE INDEX attempts_delivery ON attempts (delivery, record, partition);
CREATE INDEX attempts_at ON attempts (at);
CREATE INDEX attempts_bodies ON attempts (at) WHERE response_body IS NOT NULL;

CREATE TABLE dead_letters_short (
  delivery BLOB NOT NULL, partition INTEGER NOT NULL, record INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;
INSERT INTO dead_letters_short SELECT unhex(delivery, '-'), partition, record, at FROM dead_letters ORDER BY at;
DROP TABLE dead_letters;
ALTER TABLE dead_letters_short RENAME TO dead_letters;
CREATE UNIQUE INDEX dead_letters_delivery ON dead_letters (delivery);
CREATE INDEX dead_letters_at ON dead_letters (at);
";

/// Changes of the catalog are found as events and deliveries are: by their kinds, or by the id of a resource.
const AUDIT: &str = "
ALTER TABLE kinds ADD COLUMN actor TEXT;
ALTER TABLE kinds ADD COLUMN action TEXT;
DROP INDEX kinds_all;
CREATE INDEX kinds_all ON kinds (status, org, type, integration_id, integration_name, category, actor, action);
CREATE TABLE audit (
  partition INTEGER NOT NULL, record INTEGER NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, kind INTEGER NOT NULL,
  org TEXT, type TEXT NOT NULL, resource TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, version INTEGER NOT NULL,
  made_at INTEGER, address TEXT, request_id TEXT, was TEXT, became TEXT) STRICT;
CREATE UNIQUE INDEX audit_place ON audit (partition, record);
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_kind ON audit (kind, at, id);
CREATE INDEX audit_resource ON audit (resource, at, id);
";

/// When keys and people came in last: of no topic, so that it begins anew with the file.
const USES: &str = "
CREATE TABLE uses (kind TEXT, id TEXT, at INTEGER NOT NULL, PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;
CREATE INDEX uses_at ON uses (at);
";

/// A delivery that was put back and ended without a further attempt is told from the one before by this.
const REDRIVES: &str = "ALTER TABLE deliveries ADD COLUMN redrives INTEGER NOT NULL DEFAULT 0;";

/// A reader asks for kinds and then for their rows: the number of a kind that went meanwhile is never another's.
const KINDS_FOR_GOOD: &str = "
CREATE TABLE kinds_for_good (
  id INTEGER PRIMARY KEY AUTOINCREMENT, org TEXT, type TEXT, integration_id TEXT, integration_name TEXT, status TEXT,
  category TEXT, actor TEXT, action TEXT) STRICT;
INSERT INTO kinds_for_good SELECT id, org, type, integration_id, integration_name, status, category, actor, action FROM kinds;
DROP TABLE kinds;
ALTER TABLE kinds_for_good RENAME TO kinds;
CREATE INDEX kinds_all ON kinds (status, org, type, integration_id, integration_name, category, actor, action);
";

/// Few are rejected as a rule: what their lists are filtered by may have an index each.
const REJECTED: &str = "
CREATE INDEX rejected_org ON rejected (org, at, record) WHERE org IS NOT NULL;
CREATE INDEX rejected_stage ON rejected (stage, at, record);
CREATE INDEX rejected_reason ON rejected (reason, at, record);
";

/// What was rejected is a payload too, and is kept as long as one.
const REJECTED_BODIES: &str = "CREATE INDEX rejected_bodies ON rejected (at) WHERE value IS NOT NULL;";

ALTER TABLE bookings ALTER secret TYPE varchar(3)
---
ALTER TABLE lines DROP CONSTRAINT ck_place; ALTER TABLE lines ALTER place TYPE bigint
---
ALTER TABLE lines DROP CONSTRAINT ck_place; ALTER TABLE lines ALTER place TYPE double precision; UPDATE lines SET place = 1.6
---
ALTER TABLE lines DROP CONSTRAINT ck_place; ALTER TABLE lines ALTER place TYPE text
---
ALTER TABLE lines ALTER "Ö dd" TYPE jsonb USING NULL
---
DROP FUNCTION latest(); ALTER TABLE invoices ALTER updated_at TYPE timestamp
---
DROP FUNCTION latest(); ALTER TABLE invoices ALTER total TYPE numeric(20, 6); UPDATE invoices SET total = 1.23456
---
DROP FUNCTION latest(); ALTER TABLE invoices ALTER every DROP DEFAULT, ALTER every TYPE text
---
DROP VIEW grand_total; DROP VIEW totals; CREATE VIEW totals AS SELECT country, net FROM invoices; CREATE VIEW grand_total AS SELECT sum(net) AS net FROM totals
---
DROP VIEW grand_total; CREATE VIEW grand_total AS SELECT net, country FROM totals; GRANT SELECT ON grand_total TO pg_read_all_stats
---
CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'
---
DROP TRIGGER touch ON invoices; DROP FUNCTION touch(); CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'
---
DROP FUNCTION qualified(); CREATE FUNCTION qualified() RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$; COMMENT ON FUNCTION qualified() IS 'mine'
---
ALTER TABLE lines RENAME TO items
---
ALTER TABLE lines RENAME COLUMN price TO cost
---
CREATE AGGREGATE total (integer) (SFUNC = int4pl, STYPE = integer); CREATE FUNCTION step(integer, integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'; CREATE AGGREGATE stepped (integer) (SFUNC = step, STYPE = integer)
---
ALTER TABLE lines ADD COLUMN extra integer; CREATE RULE more AS ON UPDATE TO cache DO ALSO UPDATE lines SET extra = 1
---
ALTER TABLE bookings DROP COLUMN extent; DROP TYPE span
---
ALTER TABLE bookings DROP COLUMN extent
---
DROP VIEW products
---
DROP VIEW products; DROP AGGREGATE product(numeric)
---
CREATE TYPE pair AS (a integer, b text); ALTER TABLE bookings ADD COLUMN pair pair
---
DROP TYPE address; CREATE TYPE address AS (street text); ALTER TABLE bookings ADD COLUMN at address
---
ALTER TABLE events DETACH PARTITION events_2026; ALTER TABLE events_2026 ALTER kind TYPE varchar(9)
---
ALTER TABLE events DETACH PARTITION events_2026; ALTER TABLE events_2026 DROP COLUMN kind
---
ALTER TABLE events DETACH PARTITION events_2026; ALTER TABLE events_2026 ALTER kind SET DEFAULT 'x', ALTER kind SET NOT NULL
---
DROP INDEX ix_events_kind; CREATE INDEX ix_events_kind ON ONLY events (kind)
---
DROP INDEX ix_events_kind; CREATE INDEX ix_events_kind ON ONLY events (kind); CREATE INDEX one ON events_2026 (kind); ALTER INDEX ix_events_kind ATTACH PARTITION one
---
ALTER TABLE invoices REPLICA IDENTITY FULL
---
ALTER TABLE invoices REPLICA IDENTITY DEFAULT; ALTER TABLE invoices DROP CONSTRAINT uq_number
---
ALTER TABLE invoices DROP CONSTRAINT uq_number; ALTER TABLE invoices ADD CONSTRAINT uq_number UNIQUE (number, date); ALTER TABLE invoices REPLICA IDENTITY USING INDEX uq_number
---
ALTER INDEX ix_invoices_date SET (fillfactor = 40)
---
ALTER TABLE lines DISABLE TRIGGER ALL
---
ALTER TABLE events DISABLE TRIGGER ALL
---
ALTER DOMAIN amount DROP CONSTRAINT amount_positive; ALTER DOMAIN amount ADD CONSTRAINT amount_positive CHECK (VALUE >= 0) NOT VALID
---
DROP FUNCTION latest(); DROP VIEW products, grand_total, totals; ALTER TABLE invoices DROP COLUMN net CASCADE
---
ALTER POLICY open_rooms ON bookings TO pg_monitor
---
CREATE POLICY narrow ON bookings AS RESTRICTIVE USING (room > 1)
---
CREATE VIEW above AS SELECT place, price FROM lines; GRANT SELECT ON above TO pg_monitor
---
CREATE VIEW shared.outside AS SELECT "Ö dd" FROM t_acme.lines; ALTER TABLE lines ADD COLUMN spare text; CREATE VIEW shared.other AS SELECT spare FROM t_acme.lines
---
ALTER TABLE cache ADD COLUMN more integer; CREATE PUBLICATION everything FOR TABLE t_acme.cache (key, more)
---
CREATE TABLE rows (line lines)
---
ALTER SEQUENCE invoices_id_seq OWNED BY NONE; ALTER TABLE invoices ALTER id DROP DEFAULT
---
DROP INDEX ix_invoices_date; CREATE TABLE ix_invoices_date (id integer)
---
DROP TABLE cache; CREATE VIEW cache AS SELECT 1 AS key
---
ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'
---
ALTER TYPE mood ADD VALUE 'elated' BEFORE 'ok'; ALTER TABLE bookings ADD COLUMN mood mood
---
DROP FUNCTION latest(); ALTER TABLE invoices DROP COLUMN moods; DROP TYPE address; CREATE TYPE address AS (street text, city text COLLATE "C", moods mood[])
---
ALTER TABLE invoices ALTER doubled DROP DEFAULT; DROP FUNCTION twice(integer); CREATE FUNCTION twice(number integer) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT 2.0'; ALTER TABLE invoices ALTER doubled SET DEFAULT twice(4)
---
ALTER TABLE invoices ALTER doubled DROP DEFAULT; DROP FUNCTION twice(integer); CREATE FUNCTION twice(number bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 2::bigint'; ALTER TABLE invoices ALTER doubled SET DEFAULT twice(4)

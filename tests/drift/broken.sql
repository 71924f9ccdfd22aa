-- What somebody may do to a tenant by hand, and what is then said of it.

--- table missing
DROP TABLE lines;
-- table lines is missing

--- table extra
CREATE TABLE extra (id serial PRIMARY KEY, line bigint REFERENCES lines);
CREATE VIEW on_extra AS TABLE extra;
-- view on_extra should not be there
-- table extra should not be there

--- referred table missing
DROP TABLE invoices CASCADE;
DELETE FROM lines;
-- function latest() is missing
-- view grand_total is missing
-- view totals is missing
-- materialized view monthly is missing
-- policy open_rooms is missing on bookings
-- table invoices is missing
-- foreign key fk_code is missing on lines
-- foreign key fk_invoice is missing on lines

--- table unlogged
ALTER TABLE lines SET UNLOGGED;
-- by hand: table lines: persistence is unlogged, not permanent

--- table logged
ALTER TABLE cache SET LOGGED;
-- by hand: table cache: persistence is permanent, not unlogged

--- table comment
COMMENT ON TABLE invoices IS 'It''s';
-- table invoices: comment is It's, not What we are owed

--- row-level security
ALTER TABLE bookings DISABLE ROW LEVEL SECURITY;
ALTER TABLE lines FORCE ROW LEVEL SECURITY;
-- table bookings: row-level security is off, not on
-- table lines: row-level security for its owner is on, not off

--- partition detached
ALTER TABLE events DETACH PARTITION events_2026;
-- table events_2026: parent is none, not events, partition bound is none, not FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')

--- partition bound
ALTER TABLE events DETACH PARTITION events_2026;
ALTER TABLE events ATTACH PARTITION events_2026 FOR VALUES FROM ('2025-01-01') TO ('2027-01-01');
-- by hand: table events_2026: partition bound is FOR VALUES FROM ('2025-01-01') TO ('2027-01-01'), not FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')

--- partitioned table missing
DROP TABLE events;
-- table events is missing
-- table events_2026 is missing
-- table events_rest is missing

--- parent
ALTER TABLE derived NO INHERIT base;
-- by hand: table derived: parent is none, not base

--- column missing
ALTER TABLE lines DROP COLUMN price;
-- column lines.price is missing

--- serial column missing
ALTER TABLE invoices DROP COLUMN id CASCADE;
-- sequence invoices_id_seq is missing
-- function latest() is missing
-- policy open_rooms is missing on bookings
-- column invoices.id is missing
-- primary key invoices_pkey is missing on invoices
-- foreign key fk_invoice is missing on lines

--- identity column missing
ALTER TABLE lines DROP COLUMN id;
-- column lines.id is missing
-- primary key lines_pkey is missing on lines

--- generated column missing
DROP FUNCTION latest();
ALTER TABLE invoices DROP COLUMN gross;
-- function latest() is missing
-- column invoices.gross is missing

--- column extra
ALTER TABLE lines ADD COLUMN spare text;
-- column lines.spare should not be there

--- column renamed
ALTER TABLE lines RENAME COLUMN price TO cost;
-- column lines.cost should not be there
-- column lines.price is missing

--- column type
DROP FUNCTION latest();
DROP VIEW grand_total, totals;
ALTER TABLE lines DROP CONSTRAINT fk_code;
DROP INDEX ux_invoices_code, ix_invoices_open, ix_invoices_pattern;
DROP MATERIALIZED VIEW monthly;ALTER TABLE invoices ALTER COLUMN number TYPE text;
-- by hand: function latest() is missing
-- view grand_total is missing
-- view totals is missing
-- materialized view monthly is missing
-- by hand: column invoices.number: type is text, not character varying(20)
-- by hand: index ix_invoices_open is missing on invoices
-- by hand: index ix_invoices_pattern is missing on invoices
-- index ux_invoices_code is missing on invoices
-- foreign key fk_code is missing on lines

--- column type, others stay
ALTER TABLE lines ALTER invoice_id TYPE bigint, ALTER "Ö dd" TYPE varchar(10);
-- by hand: column lines.invoice_id: type is bigint, not integer
-- column lines.Ö dd: type is character varying(10), not text

--- column type to domain
ALTER TABLE lines ALTER price TYPE numeric;
-- by hand: column lines.price: type is numeric, not amount

--- column type with default
ALTER TABLE bookings ALTER secret SET DEFAULT 1;
ALTER TABLE lines ALTER place SET DEFAULT 7;
ALTER TABLE lines DROP CONSTRAINT ck_place;
ALTER TABLE lines ALTER place TYPE text;
-- column bookings.secret: default is 1, not none
-- by hand: column lines.place: type is text, not integer, default is 7, not none
-- by hand: check constraint ck_place is missing on lines

--- collation
ALTER TABLE lines DROP CONSTRAINT fk_code;
DROP FUNCTION latest();
ALTER TABLE invoices ALTER code TYPE text COLLATE "POSIX";
-- function latest() is missing
-- column invoices.code: collation is "POSIX", not "C"
-- foreign key fk_code is missing on lines

--- default
ALTER TABLE invoices ALTER net SET DEFAULT 1, ALTER date DROP DEFAULT, ALTER note SET DEFAULT 'it''s';
-- column invoices.date: default is none, not CURRENT_DATE
-- column invoices.net: default is 1, not 0
-- column invoices.note: default is 'it''s'::text, not 'see below'::text

--- nullable
ALTER TABLE invoices ALTER net DROP NOT NULL, ALTER note SET NOT NULL;
-- column invoices.net: NULL is allowed, not forbidden
-- column invoices.note: NULL is forbidden, not allowed

--- serial default lost
ALTER TABLE invoices ALTER id DROP DEFAULT;
DROP SEQUENCE invoices_id_seq;
-- sequence invoices_id_seq is missing
-- column invoices.id: default is none, not nextval('invoices_id_seq'::regclass)

--- identity lost
ALTER TABLE lines ALTER id DROP IDENTITY;
-- by hand: column lines.id: identity is none, not BY DEFAULT AS IDENTITY (START WITH 10 INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1 NO CYCLE)

--- identity always
ALTER TABLE lines ALTER id SET GENERATED ALWAYS SET INCREMENT BY 2 SET CYCLE;
-- by hand: column lines.id: identity is ALWAYS AS IDENTITY (START WITH 10 INCREMENT BY 2 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1 CYCLE), not BY DEFAULT AS IDENTITY (START WITH 10 INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1 NO CYCLE)

--- identity added
ALTER TABLE bookings ALTER room ADD GENERATED ALWAYS AS IDENTITY;
-- by hand: column bookings.room: identity is ALWAYS AS IDENTITY (START WITH 1 INCREMENT BY 1 MINVALUE 1 MAXVALUE 2147483647 CACHE 1 NO CYCLE), not none

--- serial to identity
ALTER TABLE invoices ALTER id DROP DEFAULT;
DROP SEQUENCE invoices_id_seq;
ALTER TABLE invoices ALTER id ADD GENERATED BY DEFAULT AS IDENTITY;
-- by hand: sequence invoices_id_seq is missing
-- by hand: column invoices.id: default is none, not nextval('invoices_id_seq'::regclass), identity is BY DEFAULT AS IDENTITY (START WITH 1 INCREMENT BY 1 MINVALUE 1 MAXVALUE 2147483647 CACHE 1 NO CYCLE), not none

--- generated changed
DROP FUNCTION latest();
ALTER TABLE invoices DROP COLUMN gross;
ALTER TABLE invoices ADD COLUMN gross numeric GENERATED ALWAYS AS (net * 2) STORED;
CREATE INDEX ix_gross ON invoices (gross);
-- by hand: function latest() is missing
-- by hand: column invoices.gross: generated is ((net * (2)::numeric)) STORED, not ((net * 1.2)) STORED
-- index ix_gross on invoices should not be there

--- generated no more
ALTER TABLE invoices ALTER gross DROP EXPRESSION;
-- by hand: column invoices.gross: generated is none, not ((net * 1.2)) STORED

--- column comment
COMMENT ON COLUMN invoices.net IS NULL;
COMMENT ON COLUMN lines.price IS 'p';
-- column invoices.net: comment is none, not Before tax
-- column lines.price: comment is p, not none

--- primary key missing
ALTER TABLE invoices DROP CONSTRAINT invoices_pkey CASCADE;
-- primary key invoices_pkey is missing on invoices
-- foreign key fk_invoice is missing on lines

--- primary key other
ALTER TABLE lines DROP CONSTRAINT lines_pkey;
ALTER TABLE lines ADD CONSTRAINT lines_pkey PRIMARY KEY (invoice_id, place);
-- primary key lines_pkey on lines: definition is PRIMARY KEY (invoice_id, place), not PRIMARY KEY (id)

--- referred primary key other
ALTER TABLE lines DROP CONSTRAINT fk_invoice;
ALTER TABLE invoices DROP CONSTRAINT invoices_pkey;
ALTER TABLE invoices ADD CONSTRAINT invoices_pkey PRIMARY KEY (number);
CREATE UNIQUE INDEX ux_id ON invoices (id);
ALTER TABLE lines ADD CONSTRAINT fk_invoice FOREIGN KEY (invoice_id) REFERENCES invoices (id) ON DELETE CASCADE DEFERRABLE;
-- primary key invoices_pkey on invoices: definition is PRIMARY KEY (number), not PRIMARY KEY (id)
-- by hand: index ux_id on invoices should not be there

--- unique missing
ALTER TABLE invoices DROP CONSTRAINT uq_number;
-- unique constraint uq_number is missing on invoices

--- constraints renamed
ALTER TABLE invoices RENAME CONSTRAINT uq_number TO other;
ALTER TABLE invoices RENAME CONSTRAINT ck_net TO another;
ALTER TABLE lines RENAME CONSTRAINT fk_invoice TO fk;
ALTER INDEX ix_invoices_date RENAME TO ix_date;
-- unique constraint other on invoices should be named uq_number
-- check constraint another on invoices should be named ck_net
-- index ix_date on invoices should be named ix_invoices_date
-- foreign key fk on lines should be named fk_invoice

--- check other
ALTER TABLE invoices DROP CONSTRAINT ck_net;
ALTER TABLE invoices ADD CONSTRAINT ck_net CHECK (net > -10);
-- check constraint ck_net on invoices: definition is CHECK ((net > ('-10'::integer)::numeric)), not CHECK ((net >= (0)::numeric))

--- check not valid
ALTER TABLE invoices DROP CONSTRAINT ck_net;
ALTER TABLE invoices ADD CONSTRAINT ck_net CHECK (net >= 0) NOT VALID;
ALTER TABLE lines VALIDATE CONSTRAINT ck_place;
-- check constraint ck_net on invoices: definition is CHECK ((net >= (0)::numeric)) NOT VALID, not CHECK ((net >= (0)::numeric))
-- check constraint ck_place on lines: definition is CHECK ((place > 0)), not CHECK ((place > 0)) NOT VALID

--- foreign key other
ALTER TABLE lines DROP CONSTRAINT fk_invoice;
ALTER TABLE lines ADD CONSTRAINT fk_invoice FOREIGN KEY (invoice_id) REFERENCES t_beta.invoices;
-- foreign key fk_invoice on lines: definition is FOREIGN KEY (invoice_id) REFERENCES t_beta.invoices(id), not FOREIGN KEY (invoice_id) REFERENCES invoices(id) ON DELETE CASCADE DEFERRABLE

--- foreign key not valid
ALTER TABLE lines DROP CONSTRAINT fk_code;
ALTER TABLE lines ADD CONSTRAINT fk_code FOREIGN KEY (code) REFERENCES invoices (code) NOT VALID;
-- foreign key fk_code on lines: definition is FOREIGN KEY (code) REFERENCES invoices(code) NOT VALID, not FOREIGN KEY (code) REFERENCES invoices(code)

--- foreign key to shared
ALTER TABLE invoices DROP CONSTRAINT invoices_country_fkey;
-- foreign key invoices_country_fkey is missing on invoices

--- exclusion
ALTER TABLE bookings DROP CONSTRAINT ex_during;
-- exclusion constraint ex_during is missing on bookings

--- index missing
DROP INDEX ix_invoices_date;
-- index ix_invoices_date is missing on invoices

--- index extra
CREATE INDEX ix_x ON invoices (net);
-- index ix_x on invoices should not be there

--- index other
DROP INDEX ix_invoices_latest;
CREATE INDEX ix_invoices_latest ON invoices (date, number);
-- index ix_invoices_latest on invoices: definition is USING btree (date, number), not USING btree (date DESC, number)

--- index unique
ALTER TABLE lines DROP CONSTRAINT fk_code;
DROP INDEX ux_invoices_code;
CREATE INDEX ux_invoices_code ON invoices (code) INCLUDE (date);
-- index ux_invoices_code on invoices: unique is no, not yes
-- foreign key fk_code is missing on lines

--- index opclass
DROP INDEX ix_invoices_pattern;
CREATE INDEX ix_invoices_pattern ON invoices (number);
-- index ix_invoices_pattern on invoices: definition is USING btree (number), not USING btree (number varchar_pattern_ops)

--- index partial
DROP INDEX ix_invoices_open;
CREATE INDEX ix_invoices_open ON invoices (lower(number)) WHERE mood = 'sad';
-- index ix_invoices_open on invoices: definition is USING btree (lower((number)::text)) WHERE (mood = 'sad'::mood), not USING btree (lower((number)::text)) WHERE (mood = 'ok'::mood)

--- index of partitioned table
DROP INDEX ix_events_kind;
-- index ix_events_kind is missing on events

--- index of materialized view
DROP INDEX ux_monthly;
-- index ux_monthly is missing on monthly

--- enum label missing
ALTER TYPE mood RENAME TO old;
CREATE TYPE mood AS ENUM ('sad', 'ok');
DROP VIEW grand_total, totals;
DROP FUNCTION latest();
DROP INDEX ix_invoices_open;
ALTER TABLE invoices ALTER mood DROP DEFAULT, ALTER mood TYPE mood USING mood::text::mood, ALTER mood SET DEFAULT 'ok', ALTER moods DROP DEFAULT, ALTER moods TYPE mood[] USING moods::text[]::mood[], ALTER moods SET DEFAULT '{sad,ok}';
DROP TYPE address;
DROP TYPE old;
CREATE TYPE address AS (street text, city text COLLATE "C", moods mood[]);
-- enum mood: labels are 'sad', 'ok', not 'sad', 'ok', 'happy'
-- function latest() is missing
-- view grand_total is missing
-- view totals is missing
-- index ix_invoices_open is missing on invoices

--- enum label extra
ALTER TYPE mood ADD VALUE 'elated';
-- by hand: enum mood: labels are 'sad', 'ok', 'happy', 'elated', not 'sad', 'ok', 'happy'

--- enum label renamed
ALTER TYPE mood RENAME VALUE 'happy' TO 'glad';
-- by hand: enum mood: labels are 'sad', 'ok', 'glad', not 'sad', 'ok', 'happy'

--- enum missing
ALTER TABLE invoices DROP COLUMN every CASCADE;
DROP TYPE t_acme.path;
-- enum path is missing
-- function latest() is missing
-- view grand_total is missing
-- view totals is missing
-- column invoices.every is missing

--- enum extra
CREATE TYPE more AS ENUM ('a');
ALTER TABLE bookings ADD COLUMN more more;
-- enum more should not be there
-- column bookings.more should not be there

--- domain default
ALTER DOMAIN amount SET DEFAULT 5;
ALTER DOMAIN amount DROP NOT NULL;
-- by hand: domain amount: default is 5, not 0, NULL is allowed, not forbidden

--- domain constraint
ALTER DOMAIN amount DROP CONSTRAINT amount_positive;
ALTER DOMAIN amount ADD CONSTRAINT less CHECK (VALUE < 100);
-- domain constraint amount_positive is missing on amount
-- domain constraint less on amount should not be there

--- domain missing
DROP DOMAIN amount CASCADE;
-- domain amount is missing
-- function latest() is missing
-- column invoices.total is missing
-- column lines.price is missing

--- composite
DROP TYPE address;
CREATE TYPE address AS (street varchar);
-- by hand: composite type address: attributes is street character varying, not street text, city text COLLATE "C", moods mood[]

--- composite missing
DROP TYPE address;
-- composite type address is missing

--- sequence options
ALTER SEQUENCE ticket INCREMENT 10 CYCLE;
ALTER SEQUENCE invoices_id_seq AS bigint MAXVALUE 1000;
-- sequence invoices_id_seq: type is bigint, not integer, options is START WITH 1 INCREMENT BY 1 MINVALUE 1 MAXVALUE 1000 CACHE 1 NO CYCLE, not START WITH 1 INCREMENT BY 1 MINVALUE 1 MAXVALUE 2147483647 CACHE 1 NO CYCLE
-- sequence ticket: options is START WITH 100 INCREMENT BY 10 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1 CYCLE, not START WITH 100 INCREMENT BY 5 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1 NO CYCLE

--- sequence missing
DROP SEQUENCE ticket;
-- sequence ticket is missing

--- sequence extra
CREATE SEQUENCE other;
-- sequence other should not be there

--- sequence owner
ALTER SEQUENCE invoices_id_seq OWNED BY NONE;
ALTER SEQUENCE ticket OWNED BY lines.place;
-- by hand: sequence invoices_id_seq: owning table is none, not invoices, owning column is none, not id
-- by hand: sequence ticket: owning table is lines, not none, owning column is place, not none

--- sequence unlogged
ALTER SEQUENCE ticket SET UNLOGGED;
-- by hand: sequence ticket: persistence is unlogged, not permanent

--- function body
CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS 'BEGIN RETURN NEW; END';
-- function touch(): body has «BEGIN RETURN NEW; END» instead of «BEGIN NEW.updated_at = now(); RETURN NEW; END»

--- function path
ALTER FUNCTION touch() RESET search_path;
-- function touch(): signature has nothing instead of «SET search_path TO '{schema}', 'pg_temp'»

--- function volatility
ALTER FUNCTION qualified() STABLE SECURITY DEFINER COST 5;
-- function qualified(): signature has «STABLE SECURITY DEFINER COST 5» instead of nothing

--- function missing
DROP FUNCTION qualified();
-- function qualified() is missing

--- function missing with default
DROP FUNCTION twice(integer) CASCADE;
-- function twice(integer) is missing
-- column invoices.doubled: default is none, not twice(21)

--- function overloaded
CREATE FUNCTION twice(number bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
-- function twice(bigint) should not be there

--- function result
DROP FUNCTION qualified();
CREATE FUNCTION qualified() RETURNS integer LANGUAGE sql AS 'SELECT 1';
-- by hand: function qualified(): signature has «RETURNS integer» instead of «RETURNS bigint», body is SELECT 1, not SELECT count(*) FROM {schema}.invoices

--- function parsed
CREATE OR REPLACE FUNCTION latest() RETURNS SETOF invoices LANGUAGE sql STABLE BEGIN ATOMIC SELECT * FROM invoices ORDER BY date LIMIT 2; END;
-- function latest(): signature has «ORDER BY invoices.date LIMIT 2;» instead of «ORDER BY invoices.date DESC LIMIT 1;»

--- procedure
DROP PROCEDURE forget;
CREATE PROCEDURE forget(since date) LANGUAGE plpgsql AS 'BEGIN END';
-- by hand: procedure forget(date): signature has «CREATE OR REPLACE PROCEDURE {schema}.forget(IN since date)» instead of «CREATE OR REPLACE PROCEDURE {schema}.forget(IN before date)», body has «BEGIN END» instead of «BEGIN DELETE FROM invoices WHERE date < before; END»

--- trigger missing
DROP TRIGGER touch ON invoices;
-- trigger touch is missing on invoices

--- trigger disabled
ALTER TABLE invoices DISABLE TRIGGER touch;
-- trigger touch on invoices: state is disabled, not enabled

--- trigger always
ALTER TABLE invoices ENABLE ALWAYS TRIGGER touch;
-- trigger touch on invoices: state is enabled always, not enabled

--- trigger other
DROP TRIGGER touch ON invoices;
CREATE TRIGGER touch AFTER UPDATE ON invoices FOR EACH ROW EXECUTE FUNCTION touch();
-- trigger touch on invoices: definition is CREATE TRIGGER touch AFTER UPDATE ON invoices FOR EACH ROW EXECUTE FUNCTION touch(), not CREATE TRIGGER touch BEFORE UPDATE OF net ON invoices FOR EACH ROW WHEN (old.net <> new.net) EXECUTE FUNCTION touch()

--- trigger extra
CREATE CONSTRAINT TRIGGER other AFTER INSERT ON lines DEFERRABLE FOR EACH ROW EXECUTE FUNCTION touch();
-- trigger other on lines should not be there

--- view missing
DROP VIEW grand_total;
-- view grand_total is missing

--- view below missing
DROP VIEW totals CASCADE;
-- view grand_total is missing
-- view totals is missing

--- view other
CREATE OR REPLACE VIEW totals AS SELECT country, avg(net) AS net FROM invoices GROUP BY country;
-- view totals: definition has «avg(net) AS net» instead of «sum(net) AS net WHERE ((mood <> 'sad'::mood) AND (every = 'day'::path))», options is none, not security_barrier=true

--- view options
ALTER VIEW totals RESET (security_barrier);
-- view totals: options is none, not security_barrier=true

--- view extra
CREATE VIEW third AS TABLE grand_total;
CREATE VIEW fourth AS TABLE third;
COMMENT ON VIEW totals IS 'Totals';
-- view fourth should not be there
-- view third should not be there
-- view totals: comment is Totals, not none

--- materialized view
DROP MATERIALIZED VIEW monthly;
CREATE MATERIALIZED VIEW monthly AS SELECT date AS month, 1::numeric AS net FROM invoices;
-- by hand: materialized view monthly: definition has «(1)::numeric AS net FROM invoices;» instead of «sum(net) AS net FROM invoices GROUP BY date;»
-- by hand: index ux_monthly is missing on monthly

--- materialized view empty
REFRESH MATERIALIZED VIEW monthly WITH NO DATA;
COMMENT ON MATERIALIZED VIEW monthly IS 'm';
-- by hand: materialized view monthly: comment is m, not none, state is empty, not populated

--- policy missing
DROP POLICY open_rooms ON bookings;
-- policy open_rooms is missing on bookings

--- policy other
ALTER POLICY open_rooms ON bookings USING (true);
-- policy open_rooms on bookings: USING has «true» instead of «((room IN ( SELECT invoices.id FROM invoices)) OR (secret IS NULL))»

--- policy extra
CREATE POLICY mine ON bookings AS RESTRICTIVE FOR INSERT TO CURRENT_USER WITH CHECK (room > 0);
-- policy mine on bookings should not be there

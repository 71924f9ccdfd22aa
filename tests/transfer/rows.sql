INSERT INTO shared.country VALUES ('fr', 'France') ON CONFLICT DO NOTHING;
INSERT INTO kinds (c, cs, d, p, ps, r, m, j, jb, n, ns, f, b, t, ch, v, bits, ts, tz, day, clock, span, u, i, mac, x,
    money, geo, flag, name, o, "Wéird ""name"" %s") VALUES
    ('Blue', '{red,NULL,green}', 5, '(1.50,"a,""b")', ARRAY['(NaN,)'::point2], '[1.5,)', '{[1,3),[5,7)}',
     '{"b": 1,  "a": [null]}', '{"b": 1, "a": "\\u20ac"}', 'NaN', '{1.10,-Infinity}', 0.1 + 0.2, '\x00ff5c', E'tab\tline\n\\N\\.', 'ab', '',
     B'0101', 'infinity', '-infinity', '4713-01-01 BC', '23:59:60+05:30', '-1 year 2 mons 3 days 04:05:06.7',
     'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '192.168.0.1/24', '08:00:2b:01:02:03:04:05', $$'it''s':1A fat:2$$,
     1234.5, '((0,0),(1,1),(2,0))', true, 'n', 42, 21),
    (NULL, '{}', NULL, NULL, '{}', 'empty', '{}', 'null', 'null', '0.000', '{}', 'Infinity', '', '\.', NULL, NULL, B'',
     '2024-02-29 12:34:56.789012', '2024-03-31 02:30:00+02', 'infinity', NULL, 'PT0S', NULL, '::1', NULL, '',
     -0.01, NULL, false, '', NULL, NULL);
INSERT INTO kinds (t) SELECT repeat('x', 300000) FROM generate_series(1, 20);
INSERT INTO person (name) VALUES ('ann'), ('bob');
UPDATE person SET boss = 2 WHERE id = 1;
INSERT INTO team (lead) VALUES (2);
UPDATE person SET team = 1, boss = 1 WHERE id = 2;
UPDATE person SET name = 'lower again' WHERE id = 2;
DELETE FROM kinds WHERE id = 5;
INSERT INTO claim VALUES (1, 'fr'), (2, NULL);
CREATE TABLE events_rest_2024 PARTITION OF events_rest FOR VALUES FROM ('2024-01-01') TO (MAXVALUE);
INSERT INTO events VALUES ('2024-05-01', 'a', 1), ('2024-05-02', 'b', 2), ('1999-01-01', 'it''s', 3);
INSERT INTO of_event VALUES ('2024-05-02', 'b');
INSERT INTO base VALUES ('of base');
INSERT INTO derived VALUES ('of derived', 1);
INSERT INTO cache VALUES ('k');
INSERT INTO nothing DEFAULT VALUES;
INSERT INTO secret VALUES (1, 'someone else');
SELECT nextval('ticket'), nextval('ticket');
REFRESH MATERIALIZED VIEW busy;

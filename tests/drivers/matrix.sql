-- What every program of the matrix finds, made anew before each of its runs. Clients are numbered; each has a schema with its number in it.
DROP SCHEMA IF EXISTS matrix CASCADE;
CREATE SCHEMA matrix;
CREATE TABLE matrix.item (id int PRIMARY KEY, body text);
INSERT INTO matrix.item VALUES (1, 'one'), (2, 'two'), (3, NULL);
CREATE TYPE matrix.mood AS ENUM ('sad', 'fine');
CREATE TYPE matrix.pair AS (number int, label text);
CREATE DOMAIN matrix.positive AS int CHECK (VALUE > 0);
CREATE TABLE matrix.kinds (
    id int PRIMARY KEY, mood matrix.mood NOT NULL, moods matrix.mood[], pair matrix.pair, positive matrix.positive,
    amount numeric(12, 4), at timestamptz, document jsonb, span int4range, code varchar(8)
);
INSERT INTO matrix.kinds VALUES (1, 'fine', '{sad,fine}', '(7,seven)', 3, 12.5, '2024-02-29 12:00:00+00', '{"a": [1, null]}', '[1,5)', 'abc');
CREATE TABLE matrix.mixed (client int, round int);
CREATE TABLE matrix.counter (value int);
INSERT INTO matrix.counter VALUES (0);
DO $$
BEGIN
    FOR client IN 0..9 LOOP
        EXECUTE format('DROP SCHEMA IF EXISTS client_%s CASCADE', client);
        EXECUTE format('CREATE SCHEMA client_%s', client);
        EXECUTE format('CREATE TABLE client_%s.who (tag int)', client);
        EXECUTE format('INSERT INTO client_%s.who VALUES (%s)', client, client);
    END LOOP;
END $$;

-- What the suites expect to find. Passwords do not matter: the server trusts everybody.
CREATE DATABASE psycopg2_test;
CREATE DATABASE test TEMPLATE template0;
CREATE DATABASE django;
CREATE ROLE pass_user LOGIN;
CREATE ROLE md5_user LOGIN;
CREATE ROLE scram_user LOGIN;
CREATE ROLE ssl_user LOGIN;
CREATE EXTENSION hstore;
CREATE EXTENSION citext;
CREATE EXTENSION ltree;
\connect psycopg2_test
CREATE EXTENSION hstore;
\connect test
CREATE SCHEMA test_schema;
CREATE SCHEMA test_schema_2;
CREATE EXTENSION hstore;
CREATE EXTENSION citext;
ALTER DATABASE test SET default_text_search_config = 'pg_catalog.english';

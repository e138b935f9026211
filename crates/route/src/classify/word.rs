//! The keywords the classifier acts on.

use pgherd_sql::keyword::Keyword;

macro_rules! words {
    ($($name:ident $word:literal)*) => {
        $(pub(super) const $name: Keyword = Keyword::named($word);)*
    };
}

words! {
    ABORT "abort" ALTER "alter" ANALYSE "analyse" ANALYZE "analyze" AS "as" BEGIN "begin" CALL "call" CASE "case"
    CHECKPOINT "checkpoint" CLOSE "close" CLUSTER "cluster" COMMENT "comment" COMMIT "commit" COPY "copy" CREATE "create"
    DEALLOCATE "deallocate" DECLARE "declare" DELETE "delete" DISCARD "discard" DO "do" DROP "drop"
    END "end" EXECUTE "execute" EXPLAIN "explain" FETCH "fetch" FILTER "filter" FOR "for" FROM "from" GRANT "grant"
    IMPORT "import" INSERT "insert" INTO "into" JOIN "join" LATERAL "lateral" LISTEN "listen" LOAD "load" LOCK "lock"
    MERGE "merge" MOVE "move" NOTIFY "notify" OPERATOR "operator" ORDINALITY "ordinality" OVER "over"
    PREPARE "prepare" REASSIGN "reassign" RECURSIVE "recursive" REFRESH "refresh" REINDEX "reindex" RELEASE "release"
    RESET "reset" REVOKE "revoke" ROLLBACK "rollback" SAVEPOINT "savepoint" SECURITY "security" SELECT "select" SET "set"
    SHOW "show" START "start" SYSTEM "system" TABLE "table" TABLESAMPLE "tablesample" TRUNCATE "truncate"
    UNLISTEN "unlisten" UPDATE "update" VACUUM "vacuum" VALUES "values" WITH "with"

    BY "by" COLUMNS "columns" CONTENT "content" CUBE "cube" DOCUMENT "document" ESCAPE "escape" FIRST "first"
    GROUPS "groups" ILIKE "ilike" KEY "key" LIKE "like" MATERIALIZED "materialized" NESTED "nested" NEXT "next"
    PASSING "passing" RANGE "range" REPEATABLE "repeatable" ROLLUP "rollup" ROWS "rows" SECOND "second" SETS "sets"
    VALUE "value" VARYING "varying" ZONE "zone"
}

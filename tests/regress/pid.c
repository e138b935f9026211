/* For the tester of the isolation suite: it takes the process id of its library's key for that of the process that works for it,
 * which through a pooler is not so. Asked of the server, it is the right one directly and through pgherd. */
#include <libpq-fe.h>
#include <stdlib.h>

int PQbackendPID(const PGconn *connection)
{
    PGresult *result = PQexec((PGconn *) connection, "SELECT pg_catalog.pg_backend_pid()");
    int pid = PQresultStatus(result) == PGRES_TUPLES_OK ? atoi(PQgetvalue(result, 0, 0)) : 0;

    PQclear(result);
    return pid;
}

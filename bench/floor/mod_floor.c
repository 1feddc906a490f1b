/* Yardsticks: what Apache itself costs for the answer of hello.

   Handler `floor`: the 13 bytes, from C, in the Apache child.

   Handler `floor-daemon`: the same from another process. The child writes the request line and all headers to a Unix socket, which its
   thread keeps, and the process, which has one thread for each connection, writes the 13 bytes back: one write each way, one wait on
   each side, no queue, no descriptors, and no request but the one is on its way. `FloorSocket PATH` starts the process. */

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <apr_strings.h>
#include <unixd.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

APLOG_USE_MODULE(floor);

#define BODY "Hello World!\n"
#define LARGEST 8192

static struct sockaddr_un address = { .sun_family = AF_UNIX };

struct message {
    size_t length;
    char bytes[LARGEST];
};

static int add(struct message *message, const char *text)
{
    size_t length = strlen(text) + 1;
    if (length > sizeof message->bytes - message->length)
        return 0;
    memcpy(message->bytes + message->length, text, length);
    message->length += length;
    return 1;
}

static int add_header(void *message, const char *name, const char *value)
{
    return add(message, name) && add(message, value);
}

static int answer(request_rec *r, const char *body, size_t length)
{
    ap_set_content_type(r, "text/plain");
    ap_set_content_length(r, length);
    ap_rwrite(body, length, r);
    return OK;
}

static int ask(request_rec *r)
{
    static __thread int connection = -1;
    struct message message = { .length = 0 };
    char body[64];

    if (connection < 0) {
        connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address) != 0) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, errno, r, "connecting to %s", address.sun_path);
            return HTTP_SERVICE_UNAVAILABLE;
        }
    }
    add(&message, r->the_request);
    apr_table_do(add_header, &message, r->headers_in, NULL);
    if (send(connection, message.bytes, message.length, MSG_NOSIGNAL) != (ssize_t)message.length)
        return HTTP_BAD_GATEWAY;
    ssize_t length = recv(connection, body, sizeof body, 0);
    return length > 0 ? answer(r, body, (size_t)length) : HTTP_BAD_GATEWAY;
}

static int handler(request_rec *r)
{
    if (r->handler == NULL)
        return DECLINED;
    if (strcmp(r->handler, "floor") == 0)
        return answer(r, BODY, sizeof BODY - 1);
    return strcmp(r->handler, "floor-daemon") == 0 ? ask(r) : DECLINED;
}

static void *serve(void *argument)
{
    int connection = (int)(intptr_t)argument;
    char request[LARGEST];

    while (recv(connection, request, sizeof request, 0) > 0 &&
           send(connection, BODY, sizeof BODY - 1, MSG_NOSIGNAL) == sizeof BODY - 1)
        ;
    close(connection);
    return NULL;
}

static _Noreturn void run(int listener)
{
    if (geteuid() == 0 && (setgid(ap_unixd_config.group_id) != 0 || setuid(ap_unixd_config.user_id) != 0))
        _exit(1);
    /* After the user has changed, which would undo it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        pthread_t thread;
        int connection = accept(listener, NULL, NULL);
        if (connection < 0 || pthread_create(&thread, NULL, serve, (void *)(intptr_t)connection) != 0)
            _exit(1);
        pthread_detach(thread);
    }
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *server)
{
    apr_proc_t *process = apr_pcalloc(pconf, sizeof *process);

    (void)plog, (void)ptemp, (void)server;
    if (address.sun_path[0] == '\0' || ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
        return OK;
    unlink(address.sun_path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(address.sun_path, 0666) != 0 || listen(listener, 128) != 0)
        return HTTP_INTERNAL_SERVER_ERROR;
    switch (apr_proc_fork(process, pconf)) {
    case APR_INCHILD:
        run(listener);
    case APR_INPARENT:
        close(listener);
        apr_pool_note_subprocess(pconf, process, APR_KILL_ALWAYS);
        return OK;
    default:
        return HTTP_INTERNAL_SERVER_ERROR;
    }
}

static const char *set_socket(cmd_parms *cmd, void *config, const char *path)
{
    (void)cmd, (void)config;
    if (strlen(path) >= sizeof address.sun_path)
        return "the path is too long for a Unix socket";
    strcpy(address.sun_path, path);
    return NULL;
}

static const command_rec commands[] = {
    AP_INIT_TAKE1("FloorSocket", set_socket, NULL, RSRC_CONF, "the path of the socket of the process that answers"),
    { NULL }
};

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA floor_module = { STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, commands, register_hooks };

/* A client's session: opened by the first use or by request, renewed and closed by request now and then, or left alone with
 * all that it has, as by a process that died. The same owner goes on with a new session. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/torture/load/load.h"

enum { SESSION_MS = 6 * 1000 /* between two requests about the session */ };

#define ALLOWED_OPEN                                                                                  \
    (1u << LOCKSTEP_OK | 1u << LOCKSTEP_UNREACHABLE | 1u << LOCKSTEP_UNKNOWN | 1u << LOCKSTEP_LIMIT | \
     1u << LOCKSTEP_SESSION_LOST)

/* ---- lines ---- */

static void invoke(struct client *client, struct request *request, const char *f, bool with_ttl)
{
    uint64_t session = lockstep_async_session_id(client->async);
    char more[96] = "";
    size_t used = 0;
    if (session != 0) {
        used = (size_t)snprintf(more, sizeof(more), " :session %" PRIu64, session);
    }
    if (with_ttl) {
        (void)snprintf(more + used, sizeof(more) - used, " :ttl-ms %" PRIu64, client->ttl_ms);
    }
    (void)snprintf(request->asked, sizeof(request->asked), ":owner \"%s\"%s", client->owner, more);
    history_line(request->process, "invoke", f, "%s", request->asked);
    history_flush(); /* H1 */
    request->open = true;
}

static void complete(struct client *client, struct request *request, const char *type, const char *f,
                     int result, const char *rest)
{
    struct load *load = client->load;
    load->operations++;
    if (result == LOCKSTEP_OK) {
        history_line(request->process, type, f, "%s%s", request->asked, rest);
    } else {
        history_line(request->process, type, f, "%s :error :%s", request->asked,
                     lockstep_result_name(result));
    }
    if (type[0] == 'i') {
        load->unknown++;
        request->process = load->next_process++;
    }
    request->open = false;
}

/* ---- opening and renewing ---- */

static void on_opened(void *arg, int result)
{
    struct client *client = arg;
    char rest[64];
    uint64_t session = client->closing ? 0 : lockstep_async_session_id(client->async);
    (void)snprintf(rest, sizeof(rest), " :session %" PRIu64, session);
    /* It may have ended again already; then which one it was is not known. */
    complete(client, &client->renewal, history_type(result), "open", result, session == 0 ? "" : rest);
    load_check_result(client->load, "open", result, ALLOWED_OPEN);
}

/* Before anything else is asked of a new client: so the session is opened by this request and not by one before it. */
static void open_session(struct client *client)
{
    invoke(client, &client->renewal, "open", true);
    int result = lockstep_async_session_open(client->async, on_opened, client);
    if (result != LOCKSTEP_OK) {
        on_opened(client, result);
    }
}

static void on_renewed(void *arg, int result)
{
    struct client *client = arg;
    /* H5 */
    bool not_done = result == LOCKSTEP_SESSION_LOST;
    const char *type = result == LOCKSTEP_OK ? "ok" : not_done ? "fail" : "info";
    complete(client, &client->renewal, type, "renew", result, "");
    load_check_result(client->load, "renew", result, ALLOWED_OPEN);
}

static void renew(struct client *client)
{
    struct load *load = client->load;
    uint64_t least_ms = load->ttl_ms / 3;
    if (draw_once_in(load, 2) && client->ttl_ms > least_ms && least_ms >= LOCKSTEP_TTL_MS_MIN) {
        client->ttl_ms = least_ms + draw_below(load, client->ttl_ms - least_ms); /* H5 */
    }
    invoke(client, &client->renewal, "renew", true);
    int result = lockstep_async_session_renew(client->async, (int64_t)client->ttl_ms, on_renewed, client);
    if (result != LOCKSTEP_OK) {
        on_renewed(client, result);
    }
}

/* ---- its life ---- */

static bool begin(struct client *client)
{
    struct load *load = client->load;
    struct lockstep_options options;
    client->ttl_ms = draw_ttl(load);
    client->due_ms = uv_now(&load->loop) + 500 + draw_pause(load, SESSION_MS);
    lockstep_options_init(&options);
    options.endpoints = load->endpoints;
    options.owner = client->owner;
    options.session_ttl_ms = (int64_t)client->ttl_ms;
    options.connect_timeout_ms = 200 + (int64_t)draw_below(load, 800);
    options.drift_ppm = 100000; /* clocks of client and nodes are up to 5 % wrong, each */
    /* Short ones leave outcomes unknown, long ones wait for a leader. */
    options.request_timeout_ms = 200 + (int64_t)draw_below(load, draw_once_in(load, 2) ? 1000 : 8000);
    int result = lockstep_async_create(&load->loop, &options, &client->async);
    load_check_result(load, "create", result, 1u << LOCKSTEP_OK);
    if (result != LOCKSTEP_OK) {
        return false;
    }
    for (unsigned i = 0; i < LOAD_SLOTS; i++) {
        slot_init(client, &client->slots[i]);
    }
    if (draw_once_in(load, 2)) {
        open_session(client);
    }
    return true;
}

bool client_create(struct load *load, struct client *client, uint64_t number)
{
    client->load = load;
    client->renewal.process = load->next_process++;
    client->close.process = load->next_process++;
    (void)snprintf(client->owner, sizeof(client->owner), "%s%" PRIu64, load->owner_prefix, number);
    for (unsigned i = 0; i < LOAD_SLOTS; i++) {
        client->slots[i].process = load->next_process++;
    }
    return begin(client);
}

static void be_closed(struct client *client)
{
    client->closed = true;
    client->load->closed_count++;
}

static void go_on(struct client *client)
{
    if (client->load->leaving || !begin(client)) {
        be_closed(client);
    }
}

/* Locks that it still had are freed here: the session's end has given them back, or will. */
static void end_of_async(struct client *client)
{
    client->async = NULL;
    client->closing = false;
    for (unsigned i = 0; i < LOAD_SLOTS; i++) {
        slot_drop(&client->slots[i]);
    }
}

static void on_closed(void *arg, int result)
{
    struct client *client = arg;
    /* Whatever the result is called, the session may live. And :ok says that nothing of the owner is left. */
    int known = result == LOCKSTEP_OK && client->left != 0 ? LOCKSTEP_UNKNOWN : result;
    const char *type = known == LOCKSTEP_OK ? "ok" : "info";
    client->left = result == LOCKSTEP_OK ? client->left : client->session;
    end_of_async(client);
    complete(client, &client->close, type, "close", known, "");
    load_check_result(client->load, "close", result, ALLOWED_OPEN);
    go_on(client);
}

static void close_session(struct client *client)
{
    invoke(client, &client->close, "close", false);
    client->closing = true;
    client->session = lockstep_async_session_id(client->async);
    lockstep_async_close(client->async, on_closed, client);
}

static void on_detached(void *arg, int result)
{
    struct client *client = arg;
    struct load *load = client->load;
    (void)result;
    end_of_async(client);
    client->absent_ms = uv_now(&load->loop) + draw_below(load, 2 * load->ttl_ms) + 1;
}

/* As if it had died: nothing is given back, no line says so. */
static void abandon(struct client *client)
{
    history_flush();
    client->closing = true;
    client->left = lockstep_async_session_id(client->async);
    lockstep_async_detach(client->async, on_detached, client);
}

static void on_left(void *arg, int result, struct lockstep_session_list *list)
{
    struct client *client = arg;
    client->left = result == LOCKSTEP_NOT_FOUND ? 0 : client->left;
    lockstep_session_list_free(list);
    load_check_result(client->load, "session", result,
                      1u << LOCKSTEP_OK | 1u << LOCKSTEP_NOT_FOUND | 1u << LOCKSTEP_UNREACHABLE |
                          1u << LOCKSTEP_LIMIT);
}

/* What is due about the session. */
static void act(struct client *client)
{
    struct load *load = client->load;
    uint64_t kind = draw_below(load, 8);
    if (client->left != 0) { /* at most one is left behind */
        (void)lockstep_async_session_get(client->async, client->left, false, on_left, client);
    } else if (kind == 0 && !load->calm) {
        abandon(client);
    } else if (kind < 3) {
        close_session(client);
    } else if (lockstep_async_session_id(client->async) != 0) {
        renew(client);
    }
}

void client_act(struct client *client, uint64_t now_ms)
{
    struct load *load = client->load;
    if (client->absent_ms != 0 && (now_ms >= client->absent_ms || load->leaving)) {
        client->absent_ms = 0;
        go_on(client);
    }
    if (client->async == NULL || client->closing) {
        return;
    }
    for (unsigned i = 0; i < LOAD_SLOTS; i++) {
        slot_act(&client->slots[i], now_ms);
    }
    if (client->due_ms > now_ms || client->renewal.open || load->leaving) {
        return;
    }
    client->due_ms = now_ms + draw_pause(load, SESSION_MS);
    act(client);
}

void client_leave(struct client *client)
{
    if (client->async != NULL && !client->closing) {
        close_session(client);
    }
}

bool client_is_idle(const struct client *client)
{
    bool idle = !client->renewal.open;
    for (unsigned i = 0; i < LOAD_SLOTS; i++) {
        idle = idle && client->slots[i].state == SLOT_IDLE;
    }
    return idle;
}

void client_look(struct client *client)
{
    if (client->async == NULL || client->closing) {
        return;
    }
    for (unsigned i = 0; i < LOAD_SLOTS; i++) {
        hold_look(&client->slots[i], history_now());
    }
}

/* A client's session: opened by the first use, renewed and closed by request now and then. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/torture/load/load.h"

enum { SESSION_MS = 20 * 1000 /* between two requests about the session */ };

static bool open_async(struct client *client)
{
    struct load *load = client->load;
    struct lockstep_options options;
    lockstep_options_init(&options);
    options.endpoints = load->endpoints;
    options.owner = client->owner;
    options.session_ttl_ms = (int64_t)load->ttl_ms;
    options.connect_timeout_ms = 500;
    options.drift_ppm = 100000; /* clocks of client and nodes are up to 5 % wrong, each */
    /* Short ones leave outcomes unknown, long ones wait for a leader. */
    options.request_timeout_ms = 300 + (int64_t)load_random(load, load_random(load, 2) == 0 ? 1000 : 8000);
    int result = lockstep_async_create(&load->loop, &options, &client->async);
    load_check_result(load, "create", result);
    return result == LOCKSTEP_OK;
}

bool client_create(struct load *load, struct client *client, uint64_t number)
{
    client->load = load;
    client->process = load->next_process++;
    client->due_ms = uv_now(&load->loop) + load_pause(load, SESSION_MS);
    (void)snprintf(client->owner, sizeof(client->owner), "%s%" PRIu64, load->owner_prefix, number);
    for (unsigned i = 0; i < LOAD_SLOTS; i++) {
        slot_init(client, &client->slots[i]);
    }
    return open_async(client);
}

static void complete(struct client *client, const char *f, int result)
{
    struct load *load = client->load;
    const char *type = history_type(result);
    load->operations++;
    if (result == LOCKSTEP_OK) {
        history_line(client->process, type, f, "%s", client->asked);
    } else {
        history_line(client->process, type, f, "%s :error :%s", client->asked, lockstep_result_name(result));
    }
    if (type[0] == 'i') {
        load->unknown++;
        client->process = load->next_process++;
    }
}

static void invoke(struct client *client, const char *f)
{
    (void)snprintf(client->asked, sizeof(client->asked),
                   ":owner \"%s\" :session %" PRIu64 " :ttl-ms %" PRIu64, client->owner,
                   lockstep_async_session_id(client->async), client->load->ttl_ms);
    history_line(client->process, "invoke", f, "%s", client->asked);
    history_flush(); /* H1 */
}

static void on_renewed(void *arg, int result)
{
    struct client *client = arg;
    client->renewing = false;
    complete(client, "renew", result);
    load_check_result(client->load, "renew", result);
}

static void renew(struct client *client)
{
    invoke(client, "renew");
    client->renewing = true;
    int result =
        lockstep_async_session_renew(client->async, (int64_t)client->load->ttl_ms, on_renewed, client);
    if (result != LOCKSTEP_OK) {
        on_renewed(client, result);
    }
}

/* Locks that it still had are freed here: the session's end has given them back, or will. */
static void on_closed(void *arg, int result)
{
    struct client *client = arg;
    struct load *load = client->load;
    complete(client, "close", result);
    client->async = NULL;
    client->closing = false;
    for (unsigned i = 0; i < LOAD_SLOTS; i++) {
        slot_drop(&client->slots[i]);
        slot_init(client, &client->slots[i]);
    }
    if (load->leaving || !open_async(client)) {
        client->closed = true;
        load->closed_count++;
    }
}

static void close_session(struct client *client)
{
    struct lockstep_async *async = client->async;
    if (lockstep_async_session_id(async) == 0) { /* nothing was opened, so nothing is closed */
        (void)snprintf(client->asked, sizeof(client->asked), ":owner \"%s\" :session 0", client->owner);
        history_line(client->process, "invoke", "close", "%s", client->asked);
        history_flush();
    } else {
        invoke(client, "close");
    }
    client->closing = true;
    lockstep_async_close(async, on_closed, client);
}

void client_act(struct client *client, uint64_t now_ms)
{
    struct load *load = client->load;
    if (client->closing || client->closed) {
        return;
    }
    for (unsigned i = 0; i < LOAD_SLOTS; i++) {
        slot_act(&client->slots[i], now_ms);
    }
    if (client->due_ms > now_ms || client->renewing || load->leaving) {
        return;
    }
    client->due_ms = now_ms + load_pause(load, SESSION_MS);
    if (lockstep_async_session_id(client->async) == 0) {
        return;
    }
    if (load_random(load, 3) == 0) {
        close_session(client);
    } else {
        renew(client);
    }
}

void client_leave(struct client *client)
{
    if (!client->closing && !client->closed) {
        close_session(client);
    }
}

void client_look(struct client *client)
{
    uint64_t now_ns = history_now();
    for (unsigned i = 0; i < LOAD_SLOTS; i++) {
        slot_look(&client->slots[i], now_ns);
    }
}

/* Admission, stage 2: the secret -> its digest. From here on nobody needs the secret: the state machine compares the
 * digest (it knows the sessions), and the log has no secrets. A connection keeps its last secret and digest, so that a
 * client with one session pays for one hash. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "node/admission.h"
#include "node/core_state.h"
#include "protocol/assert.h"

static void hash_secret(const uint8_t *secret, uint8_t *ret_digest)
{
    uint8_t whole[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    int ok = EVP_Digest(secret, PROTO_SECRET_BYTES, whole, &size, EVP_sha256(), NULL);
    LOCKSTEP_ASSERT(ok == 1);
    LOCKSTEP_ASSERT(size >= PROTO_DIGEST_BYTES);
    memcpy(ret_digest, whole, PROTO_DIGEST_BYTES);
}

bool admission_authenticate(struct core *core, struct request *request)
{
    (void)core;
    struct proto_request *message = &request->message;
    bool has_secret =
        message->kind == PROTO_SESSION_OPEN || proto_operation_find(message->kind)->sent_by == PROTO_SESSION;
    if (!has_secret) {
        return true;
    }
    struct core_connection *connection = request->connection;
    if (!connection->known.valid ||
        CRYPTO_memcmp(connection->known.secret, message->secret, PROTO_SECRET_BYTES) != 0) {
        memcpy(connection->known.secret, message->secret, PROTO_SECRET_BYTES);
        hash_secret(message->secret, connection->known.digest);
        connection->known.valid = true;
    }
    memcpy(request->digest, connection->known.digest, PROTO_DIGEST_BYTES);
    OPENSSL_cleanse(message->secret, PROTO_SECRET_BYTES);
    return true;
}

/* The aws-chunked decoder: lines are gathered in a small buffer, payload passes through. */
#include "wire/chunked.h"

#include <openssl/crypto.h>

#include "base/assert.h"
#include "base/codec.h"

#define SIGNATURE_EXTENSION "chunk-signature="
#define TRAILER_SIGNATURE "x-amz-trailer-signature"
#define SIZE_DIGITS_MAX 12u

enum { CHUNKED_SIZE, CHUNKED_PAYLOAD, CHUNKED_PAYLOAD_END, CHUNKED_TRAILER };

void chunked_init(struct chunked *chunked, enum sigv4_payload payload,
                  const struct sigv4_chain *chain, uint64_t decoded_bytes) {
    ASSERT(sigv4_is_streaming(payload));
    bool is_signed = payload != SIGV4_PAYLOAD_STREAMING_UNSIGNED_TRAILER;
    ASSERT(is_signed == (chain != NULL));
    *chunked = (struct chunked){.payload = payload,
                                .state = CHUNKED_SIZE,
                                .is_signed = is_signed,
                                .has_trailer = payload != SIGV4_PAYLOAD_STREAMING,
                                .decoded_limit = decoded_bytes};
    if (is_signed)
        chunked->chain = *chain;
}

void chunked_fini(struct chunked *chunked) {
    digest_fini(&chunked->hash);
    OPENSSL_cleanse(chunked->chain.key, sizeof chunked->chain.key);
}

static int malformed(struct err *err, const char *what) {
    return err_set(err, ERR_PROTOCOL, "the aws-chunked body is malformed: %s", what);
}

/* Ends the hash of a chunk, or of the trailer, and compares the signature that came with it. */
static int check_signature(struct chunked *chunked, bool is_trailer, struct err *err) {
    uint8_t hash[SHA256_SIZE];
    char signature[SIGV4_SIGNATURE_SIZE];
    digest_final(&chunked->hash, hash);
    digest_fini(&chunked->hash);
    sigv4_chain_next(&chunked->chain, hash, is_trailer, signature);
    if (CRYPTO_memcmp(signature, chunked->signature, sizeof signature - 1) != 0)
        return err_set(err, ERR_SIGNATURE_MISMATCH, "the signature of a %s does not match",
                       is_trailer ? "trailer" : "chunk");
    return 0;
}

static int take_signature(struct chunked *chunked, struct span text, struct err *err) {
    uint8_t hash[SHA256_SIZE];
    if (!hex_decode(text, hash, sizeof hash))
        return malformed(err, "a signature");
    memcpy(chunked->signature, text.data, text.size);
    return 0;
}

/* After the last payload byte of a chunk of any size, the last one included. */
static int end_chunk(struct chunked *chunked, struct err *err) {
    return chunked->is_signed ? check_signature(chunked, false /* a chunk */, err) : 0;
}

/* The chunk of size 0 has been read: what follows is the trailer, or its empty line. */
static int end_payload(struct chunked *chunked, struct err *err) {
    if (chunked->decoded_bytes != chunked->decoded_limit)
        return err_set(err, ERR_INCOMPLETE_BODY,
                       "the chunks hold fewer bytes than x-amz-decoded-content-length says");
    int code = end_chunk(chunked, err);
    if (code != 0)
        return code;
    if (chunked->is_signed && chunked->has_trailer)
        digest_init(&chunked->hash, DIGEST_SHA256);
    chunked->state = CHUNKED_TRAILER;
    return 0;
}

/* "10000;chunk-signature=..." */
static int take_size_line(struct chunked *chunked, struct span line, struct err *err) {
    struct span digits, prefix = SPAN_LITERAL(SIGNATURE_EXTENSION);
    bool has_extension = span_cut(&line, ';', &digits);
    if (digits.size == 0 || digits.size > SIZE_DIGITS_MAX || has_extension != chunked->is_signed)
        return malformed(err, "a chunk's first line");
    uint64_t size = 0;
    for (size_t i = 0; i < digits.size; i++) {
        int digit = hex_digit(digits.data[i]);
        if (digit < 0)
            return malformed(err, "a chunk's size");
        size = size << 4 | (uint64_t)digit;
    }
    if (chunked->is_signed) {
        if (!span_starts_with(line, prefix))
            return malformed(err, "a chunk without signature");
        struct span signature = {line.data + prefix.size, line.size - prefix.size};
        int code = take_signature(chunked, signature, err);
        if (code != 0)
            return code;
        digest_init(&chunked->hash, DIGEST_SHA256);
    }
    if (size > CHUNKED_CHUNK_BYTES_MAX || size > chunked->decoded_limit - chunked->decoded_bytes)
        return err_set(err, ERR_INCOMPLETE_BODY,
                       "the chunks hold more bytes than x-amz-decoded-content-length says");
    chunked->chunk_left = size;
    chunked->state = CHUNKED_PAYLOAD;
    return size > 0 ? 0 : end_payload(chunked, err);
}

static int take_payload_end(struct chunked *chunked, struct span line, struct err *err) {
    if (line.size != 0)
        return malformed(err, "a chunk is longer than it says");
    chunked->state = CHUNKED_SIZE;
    return end_chunk(chunked, err);
}

static int take_checksum(struct chunked *chunked, struct span name, struct span value,
                         struct err *err) {
    enum checksum_kind kind = checksum_by_header(name);
    if (kind == CHECKSUM_NONE)
        return malformed(err, "an unknown trailer");
    if (!checksum_is_valid(kind, value) || chunked->trailer_kind != CHECKSUM_NONE)
        return err_set(err, ERR_INVALID_DIGEST, "the value of the trailer %.*s is not valid",
                       SPAN_ARGS(name));
    chunked->trailer_kind = kind;
    memcpy(chunked->trailer_checksum, value.data, value.size);
    chunked->trailer_checksum[value.size] = '\0';
    return 0;
}

/* The canonical form that the trailer's signature covers: "name:value\n". */
static void hash_trailer(struct chunked *chunked, struct span name, struct span value) {
    char lower[CHUNKED_LINE_BYTES_MAX];
    for (size_t i = 0; i < name.size; i++)
        lower[i] =
            name.data[i] >= 'A' && name.data[i] <= 'Z' ? (char)(name.data[i] | 0x20) : name.data[i];
    digest_update(&chunked->hash, lower, name.size);
    digest_update(&chunked->hash, ":", 1);
    digest_update(&chunked->hash, value.data, value.size);
    digest_update(&chunked->hash, "\n", 1);
}

static int end_body(struct chunked *chunked, struct err *err) {
    if (chunked->is_signed && chunked->has_trailer && !chunked->has_trailer_signature)
        return malformed(err, "the trailer has no signature");
    chunked->is_done = true;
    return 0;
}

static int take_trailer(struct chunked *chunked, struct span line, struct err *err) {
    struct span name;
    if (line.size == 0)
        return end_body(chunked, err);
    if (!chunked->has_trailer || chunked->has_trailer_signature || !span_cut(&line, ':', &name))
        return malformed(err, "a trailer");
    struct span value = span_trim(line);
    if (http1_name_equal(name, SPAN_LITERAL(TRAILER_SIGNATURE)) && chunked->is_signed) {
        int code = take_signature(chunked, value, err);
        chunked->has_trailer_signature = true;
        return code != 0 ? code : check_signature(chunked, true /* the trailer */, err);
    }
    int code = take_checksum(chunked, name, value, err);
    if (code == 0 && chunked->is_signed)
        hash_trailer(chunked, name, value);
    return code;
}

static int take_line(struct chunked *chunked, struct err *err) {
    struct span line = {chunked->line, chunked->line_size};
    if (line.size == 0 || line.data[line.size - 1] != '\r')
        return malformed(err, "a line ends without CR");
    line.size--;
    chunked->line_size = 0;
    if (chunked->state == CHUNKED_SIZE)
        return take_size_line(chunked, line, err);
    if (chunked->state == CHUNKED_PAYLOAD_END)
        return take_payload_end(chunked, line, err);
    return take_trailer(chunked, line, err);
}

/* Gathers the line that bytes begin with or continue; returns how many it took with *ret_is_whole.
 */
static size_t gather_line(struct chunked *chunked, struct span bytes, bool *ret_is_whole) {
    const char *end = memchr(bytes.data, '\n', bytes.size);
    size_t size = end != NULL ? (size_t)(end - bytes.data) : bytes.size;
    size_t room = sizeof chunked->line - chunked->line_size;
    *ret_is_whole = end != NULL && size <= room;
    size_t kept = size < room ? size : room;
    memcpy(chunked->line + chunked->line_size, bytes.data, kept);
    chunked->line_size += kept;
    return size + (end != NULL);
}

static struct span take_payload(struct chunked *chunked, struct span bytes) {
    if (bytes.size > chunked->chunk_left)
        bytes.size = (size_t)chunked->chunk_left;
    if (chunked->is_signed)
        digest_update(&chunked->hash, bytes.data, bytes.size);
    chunked->chunk_left -= bytes.size;
    chunked->decoded_bytes += bytes.size;
    if (chunked->chunk_left == 0)
        chunked->state = CHUNKED_PAYLOAD_END;
    return bytes;
}

int chunked_feed(struct chunked *chunked, struct span bytes, size_t *ret_used,
                 struct span *ret_payload, struct err *err) {
    size_t used = 0;
    while (used < bytes.size && chunked->state != CHUNKED_PAYLOAD && !chunked->is_done) {
        bool is_whole;
        used +=
            gather_line(chunked, (struct span){bytes.data + used, bytes.size - used}, &is_whole);
        if (chunked->line_size == sizeof chunked->line)
            return malformed(err, "a line is too long");
        int code = is_whole ? take_line(chunked, err) : 0;
        if (code != 0)
            return code;
    }
    struct span payload = {bytes.data + used, 0};
    if (chunked->state == CHUNKED_PAYLOAD && used < bytes.size)
        payload = take_payload(chunked, (struct span){bytes.data + used, bytes.size - used});
    *ret_used = used + payload.size;
    *ret_payload = payload;
    return 0;
}

/* BLAKE2b without a key, for digests of 8 bytes: RFC 7693. */
#ifndef EVENTSOURCE_BLAKE2B_H
#define EVENTSOURCE_BLAKE2B_H

#include <stdint.h>
#include <string.h>

#define BLAKE2B_BLOCK_BYTES 128

static const uint64_t blake2b_iv[8] = {
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL,
};

static const uint8_t blake2b_sigma[12][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
};

typedef struct {
    uint64_t h[8];
    uint64_t length;
    uint8_t block[BLAKE2B_BLOCK_BYTES];
    size_t filled;
} blake2b_t;

static inline uint64_t blake2b_rotated(uint64_t x, int bits) { return (x >> bits) | (x << (64 - bits)); }

static inline uint64_t blake2b_word(const uint8_t *at) {
    uint64_t word = 0;
    for (int i = 7; i >= 0; i--) {
        word = word << 8 | at[i];
    }
    return word;
}

#define BLAKE2B_MIX(a, b, c, d, x, y) \
    v[a] += v[b] + (x); \
    v[d] = blake2b_rotated(v[d] ^ v[a], 32); \
    v[c] += v[d]; \
    v[b] = blake2b_rotated(v[b] ^ v[c], 24); \
    v[a] += v[b] + (y); \
    v[d] = blake2b_rotated(v[d] ^ v[a], 16); \
    v[c] += v[d]; \
    v[b] = blake2b_rotated(v[b] ^ v[c], 63);

static void blake2b_compress(blake2b_t *state, int last) {
    uint64_t v[16], m[16];
    for (int i = 0; i < 8; i++) {
        v[i] = state->h[i];
        v[i + 8] = blake2b_iv[i];
    }
    v[12] ^= state->length;
    if (last) {
        v[14] = ~v[14];
    }
    for (int i = 0; i < 16; i++) {
        m[i] = blake2b_word(state->block + 8 * i);
    }
    for (int round = 0; round < 12; round++) {
        const uint8_t *s = blake2b_sigma[round];
        BLAKE2B_MIX(0, 4, 8, 12, m[s[0]], m[s[1]])
        BLAKE2B_MIX(1, 5, 9, 13, m[s[2]], m[s[3]])
        BLAKE2B_MIX(2, 6, 10, 14, m[s[4]], m[s[5]])
        BLAKE2B_MIX(3, 7, 11, 15, m[s[6]], m[s[7]])
        BLAKE2B_MIX(0, 5, 10, 15, m[s[8]], m[s[9]])
        BLAKE2B_MIX(1, 6, 11, 12, m[s[10]], m[s[11]])
        BLAKE2B_MIX(2, 7, 8, 13, m[s[12]], m[s[13]])
        BLAKE2B_MIX(3, 4, 9, 14, m[s[14]], m[s[15]])
    }
    for (int i = 0; i < 8; i++) {
        state->h[i] ^= v[i] ^ v[i + 8];
    }
}

static void blake2b_begin(blake2b_t *state) {
    memcpy(state->h, blake2b_iv, sizeof blake2b_iv);
    state->h[0] ^= 0x01010000 ^ 8; /* no key, a digest of 8 bytes */
    state->length = 0;
    state->filled = 0;
}

static void blake2b_add(blake2b_t *state, const void *data, size_t size) {
    const uint8_t *at = data;
    while (size > 0) {
        if (state->filled == BLAKE2B_BLOCK_BYTES) { /* only when more follows: the last block is compressed as such */
            state->length += BLAKE2B_BLOCK_BYTES;
            blake2b_compress(state, 0);
            state->filled = 0;
        }
        size_t some = BLAKE2B_BLOCK_BYTES - state->filled;
        if (some > size) {
            some = size;
        }
        memcpy(state->block + state->filled, at, some);
        state->filled += some;
        at += some;
        size -= some;
    }
}

static void blake2b_end(blake2b_t *state, uint8_t digest[8]) {
    state->length += state->filled;
    memset(state->block + state->filled, 0, BLAKE2B_BLOCK_BYTES - state->filled);
    blake2b_compress(state, 1);
    for (int i = 0; i < 8; i++) {
        digest[i] = (uint8_t)(state->h[0] >> (8 * i));
    }
}

#endif

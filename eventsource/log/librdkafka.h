/*
 * The part of librdkafka's public interface (rdkafka.h, stable since 1.6) that the compiled modules call.
 *
 * The library is the one that the package confluent_kafka has loaded: its functions are looked up through that package's own
 * extension module, so nothing is linked, and no header of librdkafka is needed to build this.
 */
#ifndef EVENTSOURCE_LIBRDKAFKA_H
#define EVENTSOURCE_LIBRDKAFKA_H

#include <dlfcn.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct rd_kafka_s rd_kafka_t;
typedef struct rd_kafka_conf_s rd_kafka_conf_t;
typedef struct rd_kafka_queue_s rd_kafka_queue_t;
typedef struct rd_kafka_topic_s rd_kafka_topic_t;
typedef struct rd_kafka_headers_s rd_kafka_headers_t;
typedef struct rd_kafka_error_s rd_kafka_error_t;

typedef struct {
    int err;
    rd_kafka_topic_t *rkt;
    int32_t partition;
    void *payload;
    size_t len;
    void *key;
    size_t key_len;
    int64_t offset;
    void *_private;
} rd_kafka_message_t;

typedef struct {
    char *topic;
    int32_t partition;
    int64_t offset;
    void *metadata;
    size_t metadata_size;
    void *opaque;
    int err;
    void *_private;
} rd_kafka_topic_partition_t;

typedef struct {
    int cnt;
    int size;
    rd_kafka_topic_partition_t *elems;
} rd_kafka_topic_partition_list_t;

typedef struct {
    char *topic;
    int partition_cnt;
    void *partitions;
    int err;
} rd_kafka_metadata_topic_t;

typedef struct {
    int broker_cnt;
    void *brokers;
    int topic_cnt;
    rd_kafka_metadata_topic_t *topics;
    int32_t orig_broker_id;
    char *orig_broker_name;
} rd_kafka_metadata_t;

/* rd_kafka_vu_t: one argument of rd_kafka_produceva. */
typedef struct {
    int vtype;
    union {
        rd_kafka_topic_t *rkt;
        int i;
        int32_t i32;
        struct {
            const void *ptr;
            size_t size;
        } mem;
        rd_kafka_headers_t *headers;
        char _pad[64];
    } u;
} rd_kafka_vu_t;

enum { VTYPE_RKT = 2, VTYPE_PARTITION = 3, VTYPE_VALUE = 4, VTYPE_KEY = 5, VTYPE_MSGFLAGS = 7, VTYPE_HEADERS = 10 };
enum { MSG_F_COPY = 0x2, TYPE_CONSUMER = 1, CONF_OK = 0 };
enum { ERR_QUEUE_FULL = -184, ERR_FATAL = -150, DESTROY_NO_CONSUMER_CLOSE = 0x8 };

typedef void (*rd_kafka_error_cb_t)(rd_kafka_t *, int, const char *, void *);

/* name, result, arguments */
#define LIBRDKAFKA_FUNCTIONS(X) \
    X(rd_kafka_err2str, const char *, (int)) \
    X(rd_kafka_last_error, int, (void)) \
    X(rd_kafka_error_code, int, (const rd_kafka_error_t *)) \
    X(rd_kafka_error_is_fatal, int, (const rd_kafka_error_t *)) \
    X(rd_kafka_error_string, const char *, (const rd_kafka_error_t *)) \
    X(rd_kafka_error_destroy, void, (rd_kafka_error_t *)) \
    X(rd_kafka_fatal_error, int, (rd_kafka_t *, char *, size_t)) \
    X(rd_kafka_conf_new, rd_kafka_conf_t *, (void)) \
    X(rd_kafka_conf_destroy, void, (rd_kafka_conf_t *)) \
    X(rd_kafka_conf_set, int, (rd_kafka_conf_t *, const char *, const char *, char *, size_t)) \
    X(rd_kafka_conf_set_error_cb, void, (rd_kafka_conf_t *, rd_kafka_error_cb_t)) \
    X(rd_kafka_conf_set_opaque, void, (rd_kafka_conf_t *, void *)) \
    X(rd_kafka_new, rd_kafka_t *, (int, rd_kafka_conf_t *, char *, size_t)) \
    X(rd_kafka_destroy, void, (rd_kafka_t *)) \
    X(rd_kafka_destroy_flags, void, (rd_kafka_t *, int)) \
    X(rd_kafka_consumer_close, int, (rd_kafka_t *)) \
    X(rd_kafka_poll_set_consumer, int, (rd_kafka_t *)) \
    X(rd_kafka_queue_get_consumer, rd_kafka_queue_t *, (rd_kafka_t *)) \
    X(rd_kafka_queue_destroy, void, (rd_kafka_queue_t *)) \
    X(rd_kafka_consume_batch_queue, ssize_t, (rd_kafka_queue_t *, int, rd_kafka_message_t **, size_t)) \
    X(rd_kafka_message_destroy, void, (rd_kafka_message_t *)) \
    X(rd_kafka_message_timestamp, int64_t, (const rd_kafka_message_t *, int *)) \
    X(rd_kafka_message_headers, int, (const rd_kafka_message_t *, rd_kafka_headers_t **)) \
    X(rd_kafka_header_cnt, size_t, (const rd_kafka_headers_t *)) \
    X(rd_kafka_header_get_all, int, (const rd_kafka_headers_t *, size_t, const char **, const void **, size_t *)) \
    X(rd_kafka_topic_new, rd_kafka_topic_t *, (rd_kafka_t *, const char *, void *)) \
    X(rd_kafka_topic_destroy, void, (rd_kafka_topic_t *)) \
    X(rd_kafka_topic_name, const char *, (const rd_kafka_topic_t *)) \
    X(rd_kafka_metadata, int, (rd_kafka_t *, int, rd_kafka_topic_t *, const rd_kafka_metadata_t **, int)) \
    X(rd_kafka_metadata_destroy, void, (const rd_kafka_metadata_t *)) \
    X(rd_kafka_topic_partition_list_new, rd_kafka_topic_partition_list_t *, (int)) \
    X(rd_kafka_topic_partition_list_add, rd_kafka_topic_partition_t *, \
      (rd_kafka_topic_partition_list_t *, const char *, int32_t)) \
    X(rd_kafka_topic_partition_list_destroy, void, (rd_kafka_topic_partition_list_t *)) \
    X(rd_kafka_assign, int, (rd_kafka_t *, const rd_kafka_topic_partition_list_t *)) \
    X(rd_kafka_incremental_assign, rd_kafka_error_t *, (rd_kafka_t *, const rd_kafka_topic_partition_list_t *)) \
    X(rd_kafka_incremental_unassign, rd_kafka_error_t *, (rd_kafka_t *, const rd_kafka_topic_partition_list_t *)) \
    X(rd_kafka_position, int, (rd_kafka_t *, rd_kafka_topic_partition_list_t *)) \
    X(rd_kafka_headers_new, rd_kafka_headers_t *, (size_t)) \
    X(rd_kafka_headers_destroy, void, (rd_kafka_headers_t *)) \
    X(rd_kafka_header_add, int, (rd_kafka_headers_t *, const char *, ssize_t, const void *, ssize_t)) \
    X(rd_kafka_produceva, rd_kafka_error_t *, (rd_kafka_t *, const rd_kafka_vu_t *, size_t))

#define DECLARE(name, result, arguments) static result (*name) arguments __attribute__((unused)) = NULL;
LIBRDKAFKA_FUNCTIONS(DECLARE)
#undef DECLARE

/* Looks all functions up through an extension module that is linked with librdkafka. The name of the first that is missing, or NULL. */
static const char *librdkafka_load(const char *extension_path) {
    void *library = dlopen(extension_path, RTLD_LAZY | RTLD_LOCAL);
    if (library == NULL) {
        return dlerror();
    }
#define LOOK_UP(name, result, arguments) \
    if ((*(void **)&name = dlsym(library, #name)) == NULL) { \
        return #name; \
    }
    LIBRDKAFKA_FUNCTIONS(LOOK_UP)
#undef LOOK_UP
    return NULL;
}

/* The client of a confluent_kafka Producer or Consumer: the first field of its Handle. NULL once it is closed. */
static inline rd_kafka_t *handle_of(PyObject *client) {
    return *(rd_kafka_t **)((char *)client + sizeof(PyObject));
}

#endif

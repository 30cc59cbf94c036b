import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.LagInfo;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The command job on Kafka Streams: reads the commands that the framework's client wrote, keeps balance and version of each key in a
 * persistent store, and writes one event with the framework's six headers and one reply per command, exactly once.
 *
 * <p>Arguments are pairs of name and value. Prints a line of JSON when it runs and one when its local stores are caught up; ends when
 * its standard input does.
 */
public final class KafkaStreamsPeer {
    private static final String STORE = "accounts";
    private static final long SMALL_LAG = 500;
    private static final long LOOK_NANOS = 200_000_000;

    private KafkaStreamsPeer() {}

    public static void main(String[] arguments) throws Exception {
        Map<String, String> given = new HashMap<>();
        for (int i = 0; i < arguments.length; i += 2) {
            given.put(arguments[i], arguments[i + 1]);
        }
        KafkaStreams streams = new KafkaStreams(topology(given), properties(given));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.RUNNING) {
                System.out.println("{\"event\": \"ready\"}");
                System.out.flush();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(streams)));
        streams.start();
        new Thread(() -> tellWhenCaughtUp(streams), "caught-up").start();
        waitForTheEndOfInput();
        close(streams);
        Runtime.getRuntime().halt(0);
    }

    /** Leaves the group at once: the default is to let the session run out. */
    private static void close(KafkaStreams streams) {
        streams.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP)
                .withTimeout(Duration.ofSeconds(5)));
    }

    private static void tellWhenCaughtUp(KafkaStreams streams) {
        while (!isCaughtUp(streams)) {
            LockSupport.parkNanos(LOOK_NANOS);
        }
        System.out.println("{\"event\": \"caught-up\"}");
        System.out.flush();
    }

    /** Whether the local stores, active and standby, hold all but the newest changes. */
    private static boolean isCaughtUp(KafkaStreams streams) {
        if (streams.state() != KafkaStreams.State.RUNNING) {
            return false;
        }
        Map<String, Map<Integer, LagInfo>> stores = streams.allLocalStorePartitionLags();
        return !stores.isEmpty()
                && stores.values().stream()
                        .flatMap(partitions -> partitions.values().stream())
                        .allMatch(lag -> lag.offsetLag() <= SMALL_LAG);
    }

    private static void waitForTheEndOfInput() throws IOException {
        while (System.in.read() >= 0) {}
    }

    private static Properties properties(Map<String, String> given) {
        Properties properties = new Properties();
        properties.put("application.id", given.get("application-id"));
        properties.put("bootstrap.servers", given.get("bootstrap-servers"));
        properties.put("state.dir", given.get("state-dir"));
        properties.put("processing.guarantee", "exactly_once_v2");
        properties.put("commit.interval.ms", given.get("commit-interval-ms"));
        properties.put("num.stream.threads", given.getOrDefault("threads", "1"));
        properties.put("num.standby.replicas", given.getOrDefault("standby-replicas", "0"));
        properties.put("replication.factor", "1");
        properties.put("auto.offset.reset", "earliest");
        // As the framework's workers, so that a dead one is noticed after the same time.
        properties.put("consumer.session.timeout.ms", "6000");
        properties.put("consumer.heartbeat.interval.ms", "500");
        properties.put("producer.compression.type", "lz4");
        properties.put("producer.linger.ms", given.get("linger-ms"));
        return properties;
    }

    private static Topology topology(Map<String, String> given) {
        byte[] source = given.get("source").getBytes(StandardCharsets.UTF_8);
        byte[] topicId = HexFormat.of().parseHex(given.get("commands-topic-id"));
        Topology topology = new Topology();
        topology.addSource("commands", new ByteArrayDeserializer(), new ByteArrayDeserializer(), given.get("commands"));
        topology.addProcessor("handle", () -> new Handle(source, topicId), "commands");
        topology.addStateStore(
                Stores.keyValueStoreBuilder(
                                Stores.persistentKeyValueStore(STORE), Serdes.Bytes(), Serdes.ByteArray())
                        .withCachingEnabled(),
                "handle");
        topology.addSink(
                "events", given.get("events"), new ByteArraySerializer(), new ByteArraySerializer(), "handle");
        topology.addSink(
                "replies", given.get("replies"), new ByteArraySerializer(), new ByteArraySerializer(), "handle");
        return topology;
    }

    /** Handles one command: the new balance and version to the store, an event and a reply to their topics. */
    private static final class Handle implements Processor<byte[], byte[], byte[], byte[]> {
        private static final Header SPEC_VERSION = new RecordHeader("ce_specversion", "1.0".getBytes());
        private static final Header TYPE = new RecordHeader("ce_type", "deposited".getBytes());
        private static final byte[] FIRST_OF_ONE = "/1.1".getBytes();
        private static final int SEQUENCE_DIGITS = 20;
        private static final int CLIENT_ID_AT = 23;
        private static final int CLIENT_ID_BYTES = 16;
        private static final int EVENT_ES_BYTES = 53;
        private static final int REPLY_BYTES = 46;
        private static final int AVRO_PREFIX_BYTES = 10;

        private final Header source;
        private final byte[] topicId;
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<Bytes, byte[]> accounts;

        private Handle(byte[] source, byte[] topicId) {
            this.source = new RecordHeader("ce_source", source);
            this.topicId = topicId;
        }

        @Override
        public void init(ProcessorContext<byte[], byte[]> context) {
            this.context = context;
            accounts = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> command) {
            Bytes key = Bytes.wrap(command.key());
            byte[] before = accounts.get(key);
            long balance = before == null ? 0 : ByteBuffer.wrap(before).getLong(0);
            long version = before == null ? 0 : ByteBuffer.wrap(before).getLong(8);
            balance += amount(command.value());
            version++;
            accounts.put(key, ByteBuffer.allocate(16).putLong(balance).putLong(version).array());

            byte[] id = null;
            byte[] es = null;
            for (Header header : command.headers()) {
                if (header.key().equals("ce_id")) {
                    id = header.value();
                } else if (header.key().equals("es")) {
                    es = header.value();
                }
            }
            byte[] event = Arrays.copyOf(command.value(), command.value().length);
            context.forward(new Record<>(command.key(), event, command.timestamp(), headers(id, version, command)), "events");
            byte[] client = Arrays.copyOfRange(es, CLIENT_ID_AT, CLIENT_ID_AT + CLIENT_ID_BYTES);
            context.forward(new Record<>(client, reply(id, version), command.timestamp()), "replies");
        }

        private Headers headers(byte[] id, long version, Record<byte[], byte[]> command) {
            byte[] eventId = Arrays.copyOf(id, id.length + FIRST_OF_ONE.length);
            System.arraycopy(FIRST_OF_ONE, 0, eventId, id.length, FIRST_OF_ONE.length);
            RecordMetadata where = context.recordMetadata().orElseThrow();
            byte[] es = new byte[EVENT_ES_BYTES]; // the body hash and the trail stay zero
            ByteBuffer.wrap(es)
                    .put((byte) 1)
                    .put((byte) 0)
                    .put((byte) 2)
                    .put(topicId)
                    .putInt(where.partition())
                    .putLong(where.offset())
                    .putLong(command.timestamp());
            return new RecordHeaders(new Header[] {
                SPEC_VERSION,
                new RecordHeader("ce_id", eventId),
                source,
                TYPE,
                new RecordHeader("ce_sequence", zeroPadded(version)),
                new RecordHeader("es", es)
            });
        }

        private static byte[] zeroPadded(long version) {
            byte[] digits = new byte[SEQUENCE_DIGITS];
            for (int i = SEQUENCE_DIGITS - 1; i >= 0; i--) {
                digits[i] = (byte) ('0' + version % 10);
                version /= 10;
            }
            return digits;
        }

        private byte[] reply(byte[] id, long version) {
            int partition = context.recordMetadata().orElseThrow().partition();
            return ByteBuffer.allocate(REPLY_BYTES + id.length)
                    .put((byte) 1)
                    .put((byte) 0)
                    .putInt(partition)
                    .putLong(-1)
                    .putLong(version)
                    .putInt(0) // neither the topic's CRC
                    .putLong(0) // nor the body hash: the bench's ids are never used twice
                    .putShort((short) id.length)
                    .putShort((short) 0)
                    .putInt(0)
                    .putInt(0)
                    .put(id)
                    .array();
        }

        /** The second field of the command: Avro's zigzag long after a text. */
        private static long amount(byte[] value) {
            ByteBuffer body = ByteBuffer.wrap(value, AVRO_PREFIX_BYTES, value.length - AVRO_PREFIX_BYTES);
            int textBytes = (int) zigzag(body);
            body.position(body.position() + textBytes);
            return zigzag(body);
        }

        private static long zigzag(ByteBuffer body) {
            long bits = 0;
            for (int shift = 0; ; shift += 7) {
                byte next = body.get();
                bits |= (long) (next & 0x7F) << shift;
                if (next >= 0) {
                    return bits >>> 1 ^ -(bits & 1);
                }
            }
        }
    }
}

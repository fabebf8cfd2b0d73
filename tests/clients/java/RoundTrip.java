// Java's own client: admin, every codec, awkward records, groups, offsets by time. Argument: bootstrap address.
// Compiles against kafka-clients 2.8 and 4.x, so it uses what both have.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class RoundTrip {
    static String bootstrap;
    static String name = "java-" + System.nanoTime();
    static Admin admin;

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        admin = Admin.create(settings());
        step("create a topic", RoundTrip::create);
        for (String codec : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
            step("awkward records, " + codec, () -> awkward(codec));
        }
        step("1000 records, idempotent", RoundTrip::fill);
        step("a record above the limit is refused", RoundTrip::tooLarge);
        step("a compacted topic refuses records without a key", RoundTrip::keyless);
        for (String assignor : new String[] {"RangeAssignor", "CooperativeStickyAssignor"}) {
            step("a group with " + assignor + ": two members, one leaves", () -> group(assignor));
        }
        step("a static member comes back", RoundTrip::staticMember);
        step("a commit with a note", RoundTrip::note);
        step("offsets by time", RoundTrip::byTime);
        step("groups are listed, described, deleted", RoundTrip::groups);
        step("configs, key by key", RoundTrip::configs);
        step("delete records", RoundTrip::deleteRecords);
        step("more partitions, then delete", RoundTrip::growAndDelete);
        admin.close(Duration.ofSeconds(5));
    }

    static void step(String step, Callable<Void> run) {
        try {
            run.call();
            System.out.println("ok " + step);
        } catch (Throwable error) {
            error.printStackTrace();
            System.out.println("not " + step + ": " + String.valueOf(error).replace('\n', ' '));
        }
    }

    static void equal(Object found, Object expected, String what) {
        if (!expected.equals(found)) throw new AssertionError(what + ": found " + found + ", expected " + expected);
    }

    static Properties settings(String... pairs) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("key.serializer", ByteArraySerializer.class.getName());
        settings.put("value.serializer", ByteArraySerializer.class.getName());
        settings.put("key.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("value.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("session.timeout.ms", "10000");
        for (int at = 0; at < pairs.length; at += 2) settings.put(pairs[at], pairs[at + 1]);
        return settings;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static Void create() throws Exception {
        NewTopic topic = new NewTopic(name, 3, (short) -1).configs(Collections.singletonMap("retention.ms", "-1"));
        admin.createTopics(Collections.singletonList(topic)).all().get();
        // the controller answers before every broker has the topic in its metadata
        for (int turn = 0; turn < 100 && !admin.listTopics().names().get().contains(name); turn++) Thread.sleep(100);
        equal(admin.listTopics().names().get().contains(name), true, "listed");
        return null;
    }

    static List<ProducerRecord<byte[], byte[]>> awkwardRecords(String topic) {
        byte[] all = new byte[256];
        for (int value = 0; value < 256; value++) all[value] = (byte) value;
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        byte[][][] pairs = {
            {bytes("key"), bytes("value")}, {null, bytes("no key")}, {bytes("no value"), null}, {new byte[0], new byte[0]},
            {all, all}, {bytes("schl\u00fcssel"), bytes("gr\u00fc\u00dfe")}, {bytes("long"), new byte[900_000]},
        };
        for (byte[][] pair : pairs) {
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, 0, 1_700_000_000_000L, pair[0], pair[1]);
            record.headers().add("\u00fcber", bytes("\u00e4")).add("twice", bytes("1")).add("twice", null).add("empty", new byte[0]);
            records.add(record);
        }
        return records;
    }

    static Void awkward(String codec) throws Exception {
        String topic = name + "-" + codec;
        admin.createTopics(Collections.singletonList(new NewTopic(topic, 1, (short) 1))).all().get();
        List<ProducerRecord<byte[], byte[]>> sent = awkwardRecords(topic);
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings("acks", "all", "compression.type", codec, "enable.idempotence", "true"))) {
            for (ProducerRecord<byte[], byte[]> record : sent) producer.send(record).get();
        }
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings())) {
            consumer.assign(Collections.singletonList(new TopicPartition(topic, 0)));
            List<ConsumerRecord<byte[], byte[]>> found = read(consumer, sent.size());
            equal(found.size(), sent.size(), "records");
            for (int at = 0; at < found.size(); at++) {
                equal(Arrays.equals(found.get(at).key(), sent.get(at).key()), true, "key " + at);
                equal(Arrays.equals(found.get(at).value(), sent.get(at).value()), true, "value " + at);
                equal(found.get(at).timestamp(), 1_700_000_000_000L, "timestamp " + at);
                equal(headers(found.get(at).headers()), headers(sent.get(at).headers()), "headers " + at);
            }
        }
        return null;
    }

    // names and values in order; no value is another one than an empty value
    static List<String> headers(Headers headers) {
        List<String> found = new ArrayList<>();
        for (Header header : headers) found.add(header.key() + "=" + Arrays.toString(header.value()));
        return found;
    }

    static List<ConsumerRecord<byte[], byte[]>> read(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
        long deadline = System.currentTimeMillis() + 30_000;
        while (found.size() < count && System.currentTimeMillis() < deadline) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) found.add(record);
        }
        return found;
    }

    static Void fill() throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings("acks", "all", "enable.idempotence", "true", "linger.ms", "5"))) {
            for (int number = 0; number < 1000; number++) {
                producer.send(new ProducerRecord<>(name, number % 3, 1_000_000L + number, null, bytes("" + number)));
            }
        }
        return null;
    }

    static Void tooLarge() throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings("max.request.size", "5000000"))) {
            producer.send(new ProducerRecord<>(name, new byte[1_500_000])).get();
            throw new AssertionError("accepted");
        } catch (ExecutionException error) {
            equal(error.getCause().getClass(), RecordTooLargeException.class, "error");
        }
        return null;
    }

    static Void keyless() throws Exception {
        String topic = name + "-compacted";
        NewTopic compacted = new NewTopic(topic, 1, (short) 1).configs(Collections.singletonMap("cleanup.policy", "compact"));
        admin.createTopics(Collections.singletonList(compacted)).all().get();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings())) {
            producer.send(new ProducerRecord<>(topic, bytes("key"), bytes("value"))).get();
            producer.send(new ProducerRecord<>(topic, bytes("no key"))).get();
            throw new AssertionError("accepted");
        } catch (ExecutionException error) {
            equal(error.getCause().getClass().getSimpleName(), "InvalidRecordException", "error");
        }
        return null;
    }

    static Void group(String assignor) throws Exception {
        String id = name + "-" + assignor;
        String[] pairs = {"group.id", id, "partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor};
        try (KafkaConsumer<byte[], byte[]> second = new KafkaConsumer<>(settings(pairs))) {
            try (KafkaConsumer<byte[], byte[]> first = new KafkaConsumer<>(settings(pairs))) {
                first.subscribe(Collections.singletonList(name));
                Set<Integer> values = new HashSet<>();
                for (ConsumerRecord<byte[], byte[]> record : read(first, 1000)) values.add(Integer.valueOf(new String(record.value(), StandardCharsets.UTF_8)));
                equal(values.size(), 1000, "different values");
                first.commitSync();
                second.subscribe(Collections.singletonList(name));
                long deadline = System.currentTimeMillis() + 30_000;
                while (System.currentTimeMillis() < deadline && (second.assignment().isEmpty() || first.assignment().size() + second.assignment().size() != 3)) {
                    first.poll(Duration.ofMillis(50));
                    second.poll(Duration.ofMillis(50));
                }
                Set<Integer> sizes = new TreeSet<>(Arrays.asList(first.assignment().size(), second.assignment().size()));
                equal(sizes, new TreeSet<>(Arrays.asList(1, 2)), "partitions of each member");
            }
            long deadline = System.currentTimeMillis() + 30_000;
            while (System.currentTimeMillis() < deadline && second.assignment().size() != 3) {
                equal(second.poll(Duration.ofMillis(100)).count(), 0, "records after the commit");
            }
            equal(second.assignment().size(), 3, "partitions after the other left");
        }
        return null;
    }

    static Void staticMember() {
        String[] pairs = {"group.id", name + "-static", "group.instance.id", "one"};
        for (int round = 0; round < 2; round++) {
            try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings(pairs))) {
                consumer.subscribe(Collections.singletonList(name));
                equal(read(consumer, 1000).size(), 1000, "records in round " + round);
            }
        }
        return null;
    }

    static Void note() {
        TopicPartition partition = new TopicPartition(name, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings("group.id", name + "-note"))) {
            consumer.assign(Collections.singletonList(partition));
            consumer.commitSync(Collections.singletonMap(partition, new OffsetAndMetadata(7, "a note")));
            OffsetAndMetadata found = consumer.committed(Collections.singleton(partition)).get(partition);
            equal(found.offset() + " " + found.metadata(), "7 a note", "committed");
        }
        return null;
    }

    static Void byTime() {
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings())) {
            Map<TopicPartition, Long> wanted = new HashMap<>();
            for (int partition = 0; partition < 3; partition++) wanted.put(new TopicPartition(name, partition), 1_000_300L);
            for (Map.Entry<TopicPartition, OffsetAndTimestamp> entry : consumer.offsetsForTimes(wanted).entrySet()) {
                equal(entry.getValue().offset(), 100L, "offset in " + entry.getKey());
            }
        }
        return null;
    }

    static Void groups() throws Exception {
        String id = name + "-RangeAssignor";
        equal(admin.describeConsumerGroups(Collections.singletonList(id)).all().get().get(id).groupId(), id, "described");
        equal(admin.listConsumerGroups().all().get().stream().anyMatch(group -> group.groupId().equals(id)), true, "listed");
        equal(admin.listConsumerGroupOffsets(id).partitionsToOffsetAndMetadata().get().size(), 3, "offsets");
        admin.deleteConsumerGroups(Collections.singletonList(id)).all().get();
        equal(admin.listConsumerGroups().all().get().stream().anyMatch(group -> group.groupId().equals(id)), false, "listed after the delete");
        return null;
    }

    static Void configs() throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
        AlterConfigOp change = new AlterConfigOp(new ConfigEntry("max.message.bytes", "2000000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Collections.singletonMap(resource, Collections.singletonList(change))).all().get();
        ConfigEntry found = admin.describeConfigs(Collections.singletonList(resource)).all().get().get(resource).get("max.message.bytes");
        equal(found.value() + " " + found.isDefault(), "2000000 false", "config");
        return null;
    }

    static Void deleteRecords() throws Exception {
        TopicPartition partition = new TopicPartition(name, 0);
        equal(admin.deleteRecords(Collections.singletonMap(partition, RecordsToDelete.beforeOffset(5))).lowWatermarks().get(partition).get().lowWatermark(), 5L, "log start");
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings())) {
            equal(consumer.beginningOffsets(Collections.singletonList(partition)).get(partition), 5L, "beginning");
        }
        return null;
    }

    static Void growAndDelete() throws Exception {
        admin.createPartitions(Collections.singletonMap(name, NewPartitions.increaseTo(5))).all().get();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings())) {
            equal(consumer.partitionsFor(name).size(), 5, "partitions");
        }
        admin.deleteTopics(Collections.singletonList(name)).all().get();
        equal(admin.listTopics().names().get().contains(name), false, "listed after the delete");
        return null;
    }
}

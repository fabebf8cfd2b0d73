// kafkajs: a round trip against any broker, every byte compared. Argument: bootstrap address. KafkaJS has gzip built in and no other codec.
const { Kafka, logLevel, CompressionTypes, ConfigResourceTypes } = require("kafkajs");

const topic = `kafkajs-${Date.now()}`;
const group = `${topic}-g`;
const kafka = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.NOTHING });
const LIMIT_MS = 60_000;

async function step(name, run) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`not within ${LIMIT_MS} ms`)), LIMIT_MS)));
  try {
    await Promise.race([run(), late]);
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`not ${name}: ${error.message}`);
  } finally {
    clearTimeout(timer);
  }
}

function equal(found, expected, what) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(expected)];
  if (left !== right) throw new Error(`${what}: found ${left?.slice(0, 200)}, expected ${right?.slice(0, 200)}`);
}

const hex = (bytes) => (bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString("hex"));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function read(topicName, groupId, count) {
  const found = [];
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10_000 });
  await consumer.connect();
  await consumer.subscribe({ topic: topicName, fromBeginning: true });
  await consumer.run({ eachMessage: async ({ message }) => void found.push(message) });
  for (let i = 0; i < 300 && found.length < count; i++) await sleep(100);
  await sleep(300);
  await consumer.disconnect();
  return found;
}

const AWKWARD = [
  { key: Buffer.from("key"), value: Buffer.from("value") },
  { key: null, value: Buffer.from("without a key") },
  { key: Buffer.from("without a value"), value: null },
  { key: Buffer.alloc(0), value: Buffer.alloc(0) },
  { key: Buffer.from([...Array(256).keys()]), value: Buffer.from("binary"), headers: { one: "1", two: "2" } },
  { key: Buffer.from("gr\u00fc\u00dfe"), value: Buffer.from("\u{1f30d}") },
  { key: Buffer.from("long"), value: Buffer.alloc(900_000, "x") },
];

async function awkward(admin, name, compression) {
  const of = `${topic}-${name}`;
  await admin.createTopics({ topics: [{ topic: of, numPartitions: 1 }] });
  const producer = kafka.producer({ idempotent: true });
  await producer.connect();
  const messages = AWKWARD.map((message) => ({ ...message, timestamp: "1700000000123" }));
  await producer.send({ topic: of, compression, messages });
  await producer.disconnect();
  const found = await read(of, `${of}-g`, AWKWARD.length);
  const show = (message) => [hex(message.key), hex(message.value), Object.entries(message.headers ?? {}).map(([name, value]) => [name, hex(value)])];
  equal(found.map(show), AWKWARD.map(show), "records");
  equal([...new Set(found.map((message) => message.timestamp))], ["1700000000123"], "timestamps");
}

async function main() {
  const admin = kafka.admin();
  await admin.connect();
  await step("create a topic", async () => equal(await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] }), true, "created"));
  await step("awkward records none", () => awkward(admin, "none", CompressionTypes.None));
  await step("awkward records gzip", () => awkward(admin, "gzip", CompressionTypes.GZIP));
  await step("produce 1000 records with timestamps", async () => {
    const producer = kafka.producer({ idempotent: true });
    await producer.connect();
    const messages = [...Array(1000).keys()].map((i) => ({ key: `${i}`, value: `value ${i}`, timestamp: `${1_000_000 + i}` }));
    await producer.send({ topic, messages });
    await producer.disconnect();
  });
  await step("a group reads all of them", async () => {
    const found = (await read(topic, group, 1000)).map((message) => Number(message.key.toString()));
    equal(found.sort((a, b) => a - b), [...Array(1000).keys()], "keys");
  });
  await step("the group goes on where it was", async () => equal((await read(topic, group, 1)).length, 0, "records after the commit"));
  await step("offsets by time", async () => {
    const [from, ends] = [await admin.fetchTopicOffsetsByTimestamp(topic, 1_000_500), await admin.fetchTopicOffsets(topic)];
    const sum = (offsets) => offsets.reduce((total, one) => total + Number(one.offset), 0);
    equal(sum(ends) - sum(from), 500, "records after the time");
  });
  await step("committed offsets", async () => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    equal(partitions.reduce((total, one) => total + Number(one.offset), 0), 1000, "sum of offsets");
  });
  await step("alter and describe configs", async () => {
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic };
    await admin.alterConfigs({ resources: [{ ...resource, configEntries: [{ name: "max.message.bytes", value: "2000000" }] }] });
    const { resources } = await admin.describeConfigs({ resources: [{ ...resource, configNames: ["max.message.bytes"] }] });
    equal(resources[0].configEntries[0].configValue, "2000000", "max.message.bytes");
  });
  await step("delete records", async () => {
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "5" }] });
    const offsets = await admin.fetchTopicOffsets(topic);
    equal(offsets.find((one) => one.partition === 0).low, "5", "first offset");
  });
  await step("reset the group's offsets", async () => {
    await admin.resetOffsets({ groupId: group, topic, earliest: true });
    const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic], resolveOffsets: true });
    equal(partitions.find((one) => one.partition === 1).offset, "0", "offset");
  });
  await step("list, describe and delete the group", async () => {
    const { groups } = await admin.listGroups();
    equal(groups.some((one) => one.groupId === group), true, "listed");
    equal((await admin.describeGroups([group])).groups[0].state, "Empty", "state");
    await admin.deleteGroups([group]);
  });
  await step("more partitions", async () => {
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] });
    equal((await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length, 5, "partitions");
  });
  await step("delete the topic", () => admin.deleteTopics({ topics: [topic] }));
  await admin.disconnect();
}

main().then(() => process.exit(0), (error) => {
  console.log(`not the client: ${error.message}`);
  process.exit(1);
});

// kafkajs: admin, codecs, awkward records, a group. Argument: bootstrap address.
const {Kafka, logLevel, CompressionTypes, ConfigResourceTypes} = require('kafkajs')

const bootstrap = process.argv[2]
const name = `kafkajs-${Date.now()}`
const kafka = new Kafka({brokers: [bootstrap], logLevel: logLevel.NOTHING})
const admin = kafka.admin()

async function step (step, run) {
  try {
    await run()
    console.log(`ok ${step}`)
  } catch (error) {
    console.log(`not ${step}: ${String(error.message).split('\n')[0]}`)
  }
}

function equal (found, expected, what) {
  const [a, b] = [found, expected].map(value => JSON.stringify(value))
  if (a !== b) throw new Error(`${what}: found ${a.slice(0, 200)}, expected ${b.slice(0, 200)}`)
}

// Tries for 10 s: the controller answers before every broker knows of a change.
async function eventually (attempt) {
  for (let turn = 0; turn < 100; turn++) {
    try { return await attempt() } catch { await new Promise(resolve => setTimeout(resolve, 100)) }
  }
  return attempt()
}

// Reads until count records are there, or 20 s are over, and a little longer for what should not come.
async function read (groupId, topic, count, turns = 200) {
  const consumer = kafka.consumer({groupId, sessionTimeout: 10000})
  await consumer.connect()
  await consumer.subscribe({topic, fromBeginning: true})
  const found = []
  await consumer.run({eachMessage: async ({message}) => { found.push(message) }})
  for (let turn = 0; turn < turns && found.length < count; turn++) await new Promise(resolve => setTimeout(resolve, 100))
  await new Promise(resolve => setTimeout(resolve, 300))
  await consumer.disconnect()
  return found
}

const awkward = [
  {key: 'key', value: 'value'}, {key: null, value: 'no key'}, {key: 'no value', value: null}, {key: '', value: ''},
  {key: Buffer.from([...Array(256).keys()]), value: Buffer.from([0, 255])}, {key: 'schl\u00fcssel', value: 'gr\u00fc\u00dfe'},
  {key: 'long', value: 'x'.repeat(300000)}
].map(record => ({...record, timestamp: '1700000000000', headers: {'\u00fcber': '\u00e4'}}))

const hex = value => value === null || value === undefined ? null : Buffer.from(value).toString('hex')

const shown = record => [hex(record.key), hex(record.value), record.timestamp,
  Object.entries(record.headers).map(([name, value]) => [name, hex(value)])]

async function main () {
  await admin.connect()
  await step('create a topic', async () => {
    await admin.createTopics({topics: [{topic: name, numPartitions: 3, configEntries: [{name: 'retention.ms', value: '-1'}]}]})
    await eventually(async () => equal((await admin.listTopics()).includes(name), true, 'listed'))
  })
  for (const [codec, compression] of [['none', CompressionTypes.None], ['gzip', CompressionTypes.GZIP]]) {
    await step(`awkward records, ${codec}`, async () => {
      const topic = `${name}-${codec}`
      await admin.createTopics({topics: [{topic, numPartitions: 1}]})
      const producer = kafka.producer()
      await producer.connect()
      await producer.send({topic, compression, acks: -1, messages: awkward})
      await producer.disconnect()
      const found = await read(`${topic}-g`, topic, awkward.length)
      equal(found.map(shown), awkward.map(shown), 'records')
    })
  }
  await step('600 records, idempotent; a group goes on where it was', async () => {
    const producer = kafka.producer({idempotent: true, maxInFlightRequests: 1})
    await producer.connect()
    await producer.send({topic: name, messages: [...Array(600).keys()].map(number => ({key: String(number), value: String(number), timestamp: String(1000000 + number)}))})
    await producer.disconnect()
    const found = await read(`${name}-g`, name, 600)
    equal(new Set(found.map(record => record.value.toString())).size, 600, 'different values')
    const offsets = await admin.fetchOffsets({groupId: `${name}-g`, topics: [name]})
    equal(offsets[0].partitions.reduce((sum, partition) => sum + Number(partition.offset), 0), 600, 'committed')
    equal((await read(`${name}-g`, name, 1, 50)).length, 0, 'records after the commit')
  })
  await step('offsets: ends and by time', async () => {
    const ends = await admin.fetchTopicOffsets(name)
    equal(ends.reduce((sum, partition) => sum + Number(partition.high), 0), 600, 'records')
    equal((await admin.fetchTopicOffsetsByTimestamp(name, 0)).map(partition => partition.offset), ['0', '0', '0'], 'first offsets')
    const starts = await admin.fetchTopicOffsetsByTimestamp(name, 1000400)
    const sum = offsets => offsets.reduce((total, partition) => total + Number(partition.offset), 0)
    equal(sum(ends) - sum(starts), 200, 'records after the time')
  })
  await step('configs: alter, describe', async () => {
    const resource = {type: ConfigResourceTypes.TOPIC, name}
    await admin.alterConfigs({resources: [{...resource, configEntries: [{name: 'max.message.bytes', value: '2000000'}]}]})
    await eventually(async () => {
      const {resources} = await admin.describeConfigs({resources: [{...resource, configNames: ['max.message.bytes']}]})
      equal(resources[0].configEntries[0].configValue, '2000000', 'max.message.bytes')
    })
  })
  await step('a group goes back to the beginning', async () => {
    await admin.resetOffsets({groupId: `${name}-g`, topic: name, earliest: true})
    const [{partitions}] = await admin.fetchOffsets({groupId: `${name}-g`, topics: [name], resolveOffsets: true})
    equal(partitions.map(partition => partition.offset), ['0', '0', '0'], 'offsets')
  })
  await step('groups are listed, described and deleted', async () => {
    equal((await admin.listGroups()).groups.some(group => group.groupId === `${name}-g`), true, 'listed')
    equal((await admin.describeGroups([`${name}-g`])).groups[0].state, 'Empty', 'state')
    await admin.deleteGroups([`${name}-g`])
  })
  await step('delete records, more partitions, delete', async () => {
    await admin.deleteTopicRecords({topic: name, partitions: [{partition: 0, offset: '1'}]})
    equal((await admin.fetchTopicOffsets(name)).find(partition => partition.partition === 0).low, '1', 'first offset')
    await admin.createPartitions({topicPartitions: [{topic: name, count: 5}]})
    await eventually(async () => equal((await admin.fetchTopicMetadata({topics: [name]})).topics[0].partitions.length, 5, 'partitions'))
    await admin.deleteTopics({topics: [name]})
  })
  await admin.disconnect()
}

main().catch(error => { console.log(`not the client: ${error.message}`); process.exit(1) })

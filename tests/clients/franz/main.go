// franz-go: a round trip against any broker, every byte compared. It is also the client that runs as a Job in tests/cluster.
//
//	franz BOOTSTRAP                        all steps, a line `ok STEP` or `not STEP: why` each
//	franz produce BOOTSTRAP TOPIC COUNT    numbered records, acknowledged by all replicas
//	franz verify BOOTSTRAP TOPIC COUNT     reads them back: each once, every byte
//	franz read BOOTSTRAP TOPIC GROUP COUNT reads as a member of a group, commits, leaves
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const limit = 60 * time.Second

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*limit)
	defer cancel()
	var err error
	switch arguments := os.Args[1:]; {
	case len(arguments) == 1:
		allSteps(ctx, arguments[0])
	case len(arguments) == 4 && arguments[0] == "produce":
		err = produceNumbers(ctx, arguments[1], arguments[2], number(arguments[3]))
	case len(arguments) == 4 && arguments[0] == "verify":
		err = verifyNumbers(ctx, arguments[1], arguments[2], number(arguments[3]))
	case len(arguments) == 5 && arguments[0] == "read":
		err = readInGroup(ctx, arguments[1], arguments[2], arguments[3], number(arguments[4]))
	default:
		err = errors.New("see the head of main.go for the arguments")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "franz:", err)
		os.Exit(1)
	}
}

func allSteps(ctx context.Context, bootstrap string) {
	topic := fmt.Sprintf("franz-%d", time.Now().UnixNano())
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		fmt.Println("not connect:", err)
		return
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	step(ctx, "create a topic", func(ctx context.Context) error {
		_, err := admin.CreateTopic(ctx, 3, -1, map[string]*string{"retention.ms": pointer("-1")}, topic)
		return err
	})
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
	}
	for _, one := range codecs {
		step(ctx, "awkward records "+one.name, func(ctx context.Context) error {
			if _, err := admin.CreateTopic(ctx, 1, -1, nil, topic+"-"+one.name); err != nil {
				return err
			}
			return awkward(ctx, bootstrap, topic+"-"+one.name, one.codec)
		})
	}
	step(ctx, "produce and read 2000 records", func(ctx context.Context) error {
		if err := produceNumbers(ctx, bootstrap, topic, 2000); err != nil {
			return err
		}
		return verifyNumbers(ctx, bootstrap, topic, 2000)
	})
	step(ctx, "a group reads, commits and goes on", func(ctx context.Context) error {
		if err := readInGroup(ctx, bootstrap, topic, topic+"-g", 2000); err != nil {
			return err
		}
		lag, err := admin.Lag(ctx, topic+"-g")
		if err != nil {
			return err
		}
		return equal("lag", lag[topic+"-g"].Lag.Total(), int64(0))
	})
	step(ctx, "offsets by time", func(ctx context.Context) error {
		offsets, err := admin.ListOffsetsAfterMilli(ctx, 1_000_000+1000, topic)
		if err != nil {
			return err
		}
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err != nil {
			return err
		}
		var after int64
		ends.Each(func(end kadm.ListedOffset) {
			from, _ := offsets.Lookup(topic, end.Partition)
			after += end.Offset - from.Offset
		})
		return equal("records after the time", after, int64(1000))
	})
	step(ctx, "alter and describe configs", func(ctx context.Context) error {
		change := []kadm.AlterConfig{{Name: "max.message.bytes", Value: pointer("2000000")}}
		if _, err := admin.AlterTopicConfigs(ctx, change, topic); err != nil {
			return err
		}
		described, err := admin.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return err
		}
		for _, config := range described[0].Configs {
			if config.Key == "max.message.bytes" {
				return equal("max.message.bytes", *config.Value, "2000000")
			}
		}
		return errors.New("max.message.bytes is not described")
	})
	step(ctx, "delete records", func(ctx context.Context) error {
		offsets := make(kadm.Offsets)
		offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 5})
		if _, err := admin.DeleteRecords(ctx, offsets); err != nil {
			return err
		}
		starts, err := admin.ListStartOffsets(ctx, topic)
		if err != nil {
			return err
		}
		start, _ := starts.Lookup(topic, 0)
		return equal("first offset", start.Offset, int64(5))
	})
	step(ctx, "list, describe and delete the group", func(ctx context.Context) error {
		groups, err := admin.DescribeGroups(ctx, topic+"-g")
		if err != nil {
			return err
		}
		if err := equal("state", groups[topic+"-g"].State, "Empty"); err != nil {
			return err
		}
		_, err = admin.DeleteGroup(ctx, topic+"-g")
		return err
	})
	step(ctx, "delete the topic", func(ctx context.Context) error {
		_, err := admin.DeleteTopic(ctx, topic)
		return err
	})
}

func awkward(ctx context.Context, bootstrap, topic string, codec kgo.CompressionCodec) error {
	at := time.UnixMilli(1_700_000_000_123)
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	wanted := []*kgo.Record{
		{Key: []byte("key"), Value: []byte("value")},
		{Key: nil, Value: []byte("without a key")},
		{Key: []byte("without a value"), Value: nil},
		{Key: []byte{}, Value: []byte{}},
		{Key: binary, Value: binary, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "h", Value: nil}}},
		{Key: []byte("gr\u00fc\u00dfe"), Value: []byte("\U0001f30d")},
		{Key: []byte("long"), Value: bytes.Repeat([]byte("0123456789abcdef"), 60_000)},
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(1_000_000))
	if err != nil {
		return err
	}
	defer producer.Close()
	for _, record := range wanted {
		record.Timestamp = at
		if err := producer.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
	}
	found, err := read(ctx, bootstrap, len(wanted), kgo.ConsumeTopics(topic))
	if err != nil {
		return err
	}
	for i, record := range found {
		expected := wanted[i]
		same := bytes.Equal(record.Key, expected.Key) && (record.Key == nil) == (expected.Key == nil) &&
			bytes.Equal(record.Value, expected.Value) && (record.Value == nil) == (expected.Value == nil) &&
			record.Timestamp.Equal(at) && fmt.Sprint(record.Headers) == fmt.Sprint(expected.Headers)
		if !same {
			return fmt.Errorf("record %d differs", i)
		}
	}
	return nil
}

func value(i int) []byte { return []byte(fmt.Sprintf("value %d of some length", i)) }

func produceNumbers(ctx context.Context, bootstrap, topic string, count int) error {
	producer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer producer.Close()
	records := make([]*kgo.Record, count)
	for i := range records {
		at := time.UnixMilli(1_000_000 + int64(i))
		records[i] = &kgo.Record{Key: []byte(strconv.Itoa(i)), Value: value(i), Timestamp: at}
	}
	return producer.ProduceSync(ctx, records...).FirstErr()
}

func verifyNumbers(ctx context.Context, bootstrap, topic string, count int) error {
	found, err := read(ctx, bootstrap, count, kgo.ConsumeTopics(topic))
	if err != nil {
		return err
	}
	return checkNumbers(found, count)
}

func readInGroup(ctx context.Context, bootstrap, topic, group string, count int) error {
	found, err := read(ctx, bootstrap, count, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.DisableAutoCommit())
	if err != nil {
		return err
	}
	return checkNumbers(found, count)
}

func checkNumbers(found []*kgo.Record, count int) error {
	sort.Slice(found, func(a, b int) bool { return number(string(found[a].Key)) < number(string(found[b].Key)) })
	for i, record := range found {
		if string(record.Key) != strconv.Itoa(i) || !bytes.Equal(record.Value, value(i)) {
			return fmt.Errorf("record %d is %q: %q", i, record.Key, record.Value)
		}
	}
	fmt.Printf("%d records, each once, every byte as written\n", count)
	return nil
}

// read polls until it has as many records; in a group it commits them.
func read(ctx context.Context, bootstrap string, count int, options ...kgo.Opt) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	options = append(options, kgo.SeedBrokers(bootstrap), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	consumer, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	var found []*kgo.Record
	for len(found) < count {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("%d of %d records read: %w", len(found), count, err)
		}
		found = append(found, fetches.Records()...)
	}
	if len(found) > count {
		return nil, fmt.Errorf("%d records read, and %d were written", len(found), count)
	}
	if group, _ := consumer.GroupMetadata(); group != "" {
		return found, consumer.CommitUncommittedOffsets(ctx)
	}
	return found, nil
}

func step(ctx context.Context, name string, run func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Printf("not %s: %v\n", name, err)
		return
	}
	fmt.Println("ok", name)
}

func equal[T comparable](what string, found, expected T) error {
	if found != expected {
		return fmt.Errorf("%s: found %v, expected %v", what, found, expected)
	}
	return nil
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return value
}

func pointer(text string) *string { return &text }

// franz-go: admin, every codec, awkward records, a group. Argument: bootstrap address.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	bootstrap = os.Args[1]
	name      = fmt.Sprintf("franz-%d", time.Now().UnixNano())
)

func step(step string, run func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Printf("not %s: %v\n", step, err)
		return
	}
	fmt.Println("ok " + step)
}

func client(options ...kgo.Opt) *kgo.Client {
	made, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap)}, options...)...)
	if err != nil {
		fmt.Println("not a client:", err)
		os.Exit(1)
	}
	return made
}

func equal[T comparable](found, expected T, what string) error {
	if found != expected {
		return fmt.Errorf("%s: found %v, expected %v", what, found, expected)
	}
	return nil
}

// eventually tries for 10 s: the controller answers before every broker knows of a change.
func eventually(ctx context.Context, try func() error) error {
	err := try()
	for range 100 {
		if err == nil || ctx.Err() != nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
		err = try()
	}
	return err
}

// read polls until count records are there.
func read(ctx context.Context, consumer *kgo.Client, count int) ([]*kgo.Record, error) {
	var found []*kgo.Record
	for len(found) < count {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%d of %d records came", len(found), count)
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return nil, errs[0].Err
		}
		found = append(found, fetches.Records()...)
	}
	return found, nil
}

func sameHeader(a, b kgo.RecordHeader) bool {
	return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil)
}

func awkward(admin *kadm.Client, codec string, compression kgo.CompressionCodec) func(context.Context) error {
	return func(ctx context.Context) error {
		topic := name + "-" + codec
		if _, err := admin.CreateTopic(ctx, 1, -1, nil, topic); err != nil {
			return err
		}
		binary := make([]byte, 256)
		for value := range binary {
			binary[value] = byte(value)
		}
		values := [][2][]byte{
			{[]byte("key"), []byte("value")}, {nil, []byte("no key")}, {[]byte("no value"), nil}, {[]byte{}, []byte{}},
			{binary, binary}, {[]byte("schl\u00fcssel"), []byte("gr\u00fc\u00dfe")}, {[]byte("long"), bytes.Repeat([]byte("x"), 300_000)},
		}
		// one name twice, without a value, and with an empty one
		headers := []kgo.RecordHeader{{Key: "\u00fcber", Value: []byte("\u00e4")}, {Key: "\u00fcber", Value: nil}, {Key: "empty", Value: []byte{}}}
		producer := client(kgo.ProducerBatchCompression(compression))
		defer producer.Close()
		for _, value := range values {
			record := &kgo.Record{Topic: topic, Key: value[0], Value: value[1], Headers: headers, Timestamp: time.UnixMilli(1_700_000_000_000)}
			if err := producer.ProduceSync(ctx, record).FirstErr(); err != nil {
				return err
			}
		}
		consumer := client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		defer consumer.Close()
		found, err := read(ctx, consumer, len(values))
		if err != nil {
			return err
		}
		for at, record := range found {
			same := bytes.Equal(record.Key, values[at][0]) && bytes.Equal(record.Value, values[at][1]) &&
				(record.Key == nil) == (values[at][0] == nil) && (record.Value == nil) == (values[at][1] == nil) &&
				record.Timestamp.UnixMilli() == 1_700_000_000_000 && slices.EqualFunc(record.Headers, headers, sameHeader)
			if !same {
				return fmt.Errorf("record %d differs", at)
			}
		}
		return nil
	}
}

func main() {
	base := client()
	defer base.Close()
	admin := kadm.NewClient(base)
	step("create a topic", func(ctx context.Context) error {
		_, err := admin.CreateTopic(ctx, 3, -1, map[string]*string{"retention.ms": kadm.StringPtr("-1")}, name)
		return err
	})
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()}, {"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()}}
	for _, codec := range codecs {
		step("awkward records, "+codec.name, awkward(admin, codec.name, codec.codec))
	}
	step("1000 records, idempotent", func(ctx context.Context) error {
		// a key each, so that every partition gets some
		for number := range 1000 {
			base.Produce(ctx, &kgo.Record{Topic: name, Key: fmt.Append(nil, number), Value: fmt.Append(nil, number), Timestamp: time.UnixMilli(1_000_000 + int64(number))}, nil)
		}
		return base.Flush(ctx)
	})
	step("a group reads, commits and goes on", func(ctx context.Context) error {
		options := []kgo.Opt{kgo.ConsumerGroup(name + "-g"), kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit()}
		consumer := client(options...)
		found, err := read(ctx, consumer, 1000)
		if err == nil {
			err = consumer.CommitUncommittedOffsets(ctx)
		}
		consumer.Close()
		if err != nil {
			return err
		}
		values := map[string]bool{}
		for _, record := range found {
			values[string(record.Value)] = true
		}
		if err := equal(len(values), 1000, "different values"); err != nil {
			return err
		}
		lag, err := admin.Lag(ctx, name+"-g")
		if err != nil {
			return err
		}
		return equal(lag[name+"-g"].Lag.Total(), 0, "lag")
	})
	step("offsets: start, end, after a time", func(ctx context.Context) error {
		ends, err := admin.ListEndOffsets(ctx, name)
		if err != nil {
			return err
		}
		total := int64(0)
		ends.Each(func(offset kadm.ListedOffset) { total += offset.Offset })
		if err := equal(total, 1000, "records"); err != nil {
			return err
		}
		starts, err := admin.ListOffsetsAfterMilli(ctx, 1_000_400, name)
		if err != nil {
			return err
		}
		after := int64(0)
		ends.Each(func(end kadm.ListedOffset) {
			start, _ := starts.Lookup(name, end.Partition)
			after += end.Offset - start.Offset
		})
		return equal(after, 600, "records after the time")
	})
	step("configs: alter, describe", func(ctx context.Context) error {
		change := []kadm.AlterConfig{{Name: "max.message.bytes", Value: kadm.StringPtr("2000000")}}
		if _, err := admin.AlterTopicConfigs(ctx, change, name); err != nil {
			return err
		}
		return eventually(ctx, func() error {
			described, err := admin.DescribeTopicConfigs(ctx, name)
			if err != nil {
				return err
			}
			for _, config := range described[0].Configs {
				if config.Key == "max.message.bytes" {
					return equal(config.MaybeValue(), "2000000", "max.message.bytes")
				}
			}
			return errors.New("max.message.bytes is not described")
		})
	})
	step("groups are listed, described, deleted", func(ctx context.Context) error {
		listed, err := admin.ListGroups(ctx)
		if err != nil {
			return err
		}
		if err := equal(listed[name+"-g"].Group, name+"-g", "listed"); err != nil {
			return err
		}
		described, err := admin.DescribeGroups(ctx, name+"-g")
		if err != nil {
			return err
		}
		if err := equal(described[name+"-g"].State, "Empty", "state"); err != nil {
			return err
		}
		_, err = admin.DeleteGroup(ctx, name+"-g")
		return err
	})
	step("delete records, more partitions, delete", func(ctx context.Context) error {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: name, Partition: 0, At: 1})
		deleted, err := admin.DeleteRecords(ctx, offsets)
		if err == nil {
			err = deleted.Error()
		}
		if err != nil {
			return err
		}
		starts, err := admin.ListStartOffsets(ctx, name)
		if err != nil {
			return err
		}
		start, _ := starts.Lookup(name, 0)
		if err := equal(start.Offset, 1, "first offset"); err != nil {
			return err
		}
		if _, err := admin.UpdatePartitions(ctx, 5, name); err != nil {
			return err
		}
		err = eventually(ctx, func() error {
			topics, err := admin.ListTopics(ctx, name)
			if err != nil {
				return err
			}
			return equal(len(topics[name].Partitions), 5, "partitions")
		})
		if err != nil {
			return err
		}
		_, err = admin.DeleteTopic(ctx, name)
		return err
	})
}

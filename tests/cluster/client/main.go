// An unmodified client (franz-go) as a Job in a cluster: numbered records in, and out again, every byte compared.
//
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

	"github.com/twmb/franz-go/pkg/kgo"
)

const limit = 60 * time.Second

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*limit)
	defer cancel()
	var err error
	switch arguments := os.Args[1:]; {
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

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return value
}

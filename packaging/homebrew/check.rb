# The formula without Homebrew: ruby packaging/homebrew/check.rb FORMULA BIN
#
# Stands in for what the formula calls of Homebrew's, installs the programs of the folder BIN in place of building them, and
# runs its test. Shows that it is Ruby that does what it says; whether Homebrew takes it, Homebrew alone can tell.
require "fileutils"
require "open3"
require "pathname"
require "tmpdir"

class Pathname
  # Homebrew's: a file or a folder into this folder, under another name where a Hash says so.
  def install(*sources)
    mkpath
    sources.flatten.each do |source|
      pairs = source.is_a?(Hash) ? source : { source => File.basename(source) }
      pairs.each { |from, to| FileUtils.cp_r(from, self + to) }
    end
  end
end

module Utils
  def self.safe_popen_read(*command)
    output, status = Open3.capture2(*command.map(&:to_s))
    status.success? ? output : raise("#{command.join(" ")} failed")
  end
end

class Formula
  PREFIX = Pathname(Dir.mktmpdir("formula", "/tmp"))
  PROGRAMS = Pathname(ARGV.fetch(1)).realpath

  class << self
    attr_reader :said, :test_block, :service_block

    def test(&block) = @test_block = block
    def service(&block) = @service_block = block

    def method_missing(name, *values, **pairs)
      (@said ||= {})[name] = values.first || pairs
    end

    def respond_to_missing?(*) = true
  end

  def bin = PREFIX/"bin"
  def opt_bin = bin
  def man1 = PREFIX/"share/man/man1"
  def doc = PREFIX/"share/doc/imgd"
  def share = PREFIX/"share"
  def var = PREFIX/"var"
  def testpath = PREFIX/"test"
  def std_cargo_args(path:) = ["--locked", "--root=#{PREFIX}", "--path=#{path}"]

  def system(*command)
    if command.first(2) == ["cargo", "install"]
      name = command.last.end_with?("daemon") ? "imgd" : "imgctl"
      return bin.install(PROGRAMS/name)
    end
    Kernel.system(*command.map(&:to_s)) || raise("#{command.join(" ")} failed")
  end

  def generate_completions_from_executable(*command)
    ["bash", "zsh", "fish"].each do |shell|
      script = Utils.safe_popen_read(*command, shell)
      raise "no completions for #{shell}" if script.empty?
    end
  end

  def assert_equal(expected, found) = expected == found || raise("#{found} is not #{expected}")
  def assert_operator(one, sign, other) = one.public_send(sign, other) || raise("not #{one} #{sign} #{other}")
end

# What the service's lines may be, of those that Homebrew knows.
class Service
  attr_reader :said

  [:run, :keep_alive, :process_type, :log_path, :error_log_path].each do |name|
    define_method(name) { |*values, **pairs| (@said ||= {})[name] = values.first || pairs }
  end

  def opt_bin = Formula::PREFIX/"bin"
  def var = Formula::PREFIX/"var"
end

begin
  load ARGV.fetch(0)
  formula = Imgd.new
  formula.man1.mkpath
  formula.testpath.mkpath
  formula.install
  service = Service.new
  service.instance_eval(&Imgd.service_block)
  pages = formula.man1.children.size
  raise "only #{pages} pages" if pages < 20
  raise "no caveats" if formula.caveats.empty?
  raise "the service starts nothing" unless service.said[:run].executable?

  Dir.chdir(formula.testpath) { formula.instance_eval(&Imgd.test_block) }
  puts "#{Imgd.said.keys.join(", ")}; #{pages} pages; its test drew #{(formula.testpath/"apple.png").size} bytes"
ensure
  Formula::PREFIX.rmtree
end

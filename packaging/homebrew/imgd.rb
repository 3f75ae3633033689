# Homebrew's formula. packaging/make.sh fills in what is between the @; it has not been run on macOS.
class Imgd < Formula
  desc "Image-generation models that stay in memory, and their command-line"
  homepage "@HOMEPAGE@"
  url "@URL@"
  sha256 "@SHA256@"
  license all_of: [{ any_of: ["MIT", "Apache-2.0"] }, "LGPL-3.0-or-later"]

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args(path: "daemon")
    system "cargo", "install", *std_cargo_args(path: "cli")

    system bin/"imgctl", "man", man1
    (man1/"imgd.1").write Utils.safe_popen_read(bin/"imgd", "--print-man")
    generate_completions_from_executable(bin/"imgctl", "completions")
    generate_completions_from_executable(bin/"imgd", "--print-completions")

    doc.install "models/starter/NOTICE" => "starter-NOTICE"
    doc.install Dir["docs/*.md"]
  end

  def caveats
    <<~EOS
      imgctl starts the daemon by itself:
        imgctl generate "a red apple"
      To have it at every login instead:
        brew services start imgd
    EOS
  end

  service do
    run opt_bin/"imgd"
    # A daemon that imgctl started may have the socket: then this one ends, and is not started over and over.
    keep_alive crashed: true
    # Unset, launchd throttles processor and disk; a person waits for the picture.
    process_type :interactive
    log_path var/"log/imgd.log"
    error_log_path var/"log/imgd.log"
  end

  test do
    # Short, since the path of a socket must be.
    run = Pathname(Dir.mktmpdir("imgd", "/tmp"))
    ENV["IMGD_SOCKET"] = (run/"imgd.sock").to_s
    ENV["IMGD_DATA_DIR"] = (testpath/"data").to_s
    system bin/"imgctl", "generate", "a red apple", "--seed", "7", "--output", "apple.png"
    assert_equal "\x89PNG".b, (testpath/"apple.png").binread(4)
    assert_operator (testpath/"apple.png").size, :>, 1000
  ensure
    system bin/"imgctl", "shutdown"
    run&.rmtree
  end
end

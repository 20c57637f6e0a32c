import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("cistern serve: settings", .serialized, .sideBySide)
    struct ServeUsageTests {
        /// Runs `cistern serve` with a data directory that must not come into being.
        private static func serve(
            _ arguments: [String], environment: [String: String] = [:], file: String? = nil
        ) async throws -> CommandResult {
            try await withTemporaryDirectory { directory in
                var arguments = ["serve", "--data", directory + "/data"] + arguments
                if let file {
                    try Data(file.utf8).write(to: URL(fileURLWithPath: directory + "/settings.yaml"))
                    arguments += ["--config", directory + "/settings.yaml"]
                }
                let result = try await run("cistern", arguments, environment: environment, timeout: .seconds(60))
                #expect(!FileManager.default.fileExists(atPath: directory + "/data"), "nothing was started")
                return result
            }
        }

        /// A line of --print-config.
        private struct Line: Equatable {
            let (key, value, what): (String, String, String)
        }

        /// The settings that --print-config shows.
        private static func lines(_ result: CommandResult) throws -> [Line] {
            try #require(result.status == 0, "\(result.errors)")
            return try result.output.split(separator: "\n").map { line in
                let match = try #require(try /(\S+?): ?(.*?)  # (.*)/.wholeMatch(in: line), "\(line)")
                let value = String(match.2)
                return Line(
                    key: String(match.1),
                    value: try JSONValue(parsing: value.hasPrefix("\"") ? value : "\"\(value)\"").string ?? "",
                    what: String(match.3))
            }
        }

        private static func settings(_ result: CommandResult) throws -> [String: String] {
            Dictionary(uniqueKeysWithValues: try lines(result).map { ($0.key, $0.value) })
        }

        private static func flag(_ key: String) -> String { "--" + key.replacing(".", with: "-") }
        private static func variable(_ key: String) -> String {
            "CISTERN_" + key.uppercased().replacing(/[.-]/, with: "_")
        }

        @Test("--print-config shows every setting with its value and starts nothing")
        func printsDefaults() async throws {
            let settings = try Self.settings(try await Self.serve(["--print-config"]))
            #expect(settings["listen"] == "127.0.0.1:8443" && settings["layers.mode"] == "single")
            #expect(settings["layers.compression"] == "gzip" && settings["drain-seconds"] == "25")
        }

        @Test("The documentation's table, --help and --print-config say the same of every setting")
        func documentation() async throws {
            let lines = try Self.lines(try await Self.serve(["--print-config"]))
            let rows = lines.map { line in
                let fallback = line.value.isEmpty ? "–" : "`\(line.value)`"
                let (flag, variable) = (Self.flag(line.key), Self.variable(line.key))
                return "| `\(line.key)` | `\(flag)` | `\(variable)` | \(fallback) | \(line.what) |"
            }
            let path = Programs.repository + "/Sources/cistern/cistern.docc/Settings.md"
            let documented = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
                .drop { !$0.hasPrefix("|---") }.dropFirst().map(String.init)
            for (row, line) in zip(documented, rows) { #expect(row == line) }
            #expect(documented.count == rows.count, "should be:\n\(rows.joined(separator: "\n"))")

            // The help's lines are broken, the words are the same.
            let help = try await run("cistern", ["serve", "--help"]).output.split(whereSeparator: \.isWhitespace)
                .joined(separator: " ")
            for line in lines {
                let fallback = line.value.isEmpty ? "" : " (default: \(line.value))"
                #expect(help.contains("\(Self.flag(line.key)) \(line.what)\(fallback)"), "\(line.key)")
            }
        }

        @Test("Each setting's flag and variable are taken, the flag in both of its forms")
        func flags() async throws {
            let defaults = try Self.settings(try await Self.serve(["--print-config"]))
            let apart = defaults.flatMap { [Self.flag($0.key), $0.value] }
            let together = defaults.map { "\(Self.flag($0.key))=\($0.value)" }
            for arguments in [apart, together] {
                #expect(try Self.settings(try await Self.serve(arguments + ["--print-config"])) == defaults)
            }
            // Nothing but the variable can be what is refused, and where any text is taken it is shown.
            for key in defaults.keys {
                let set = try await Self.serve(["--print-config"], environment: [Self.variable(key): "\u{1}"])
                if set.status == 0 {
                    #expect(try Self.settings(set)[key] == "\u{1}", "\(key)")
                } else {
                    #expect(set.errors.contains("\u{FFFD}") || set.errors.contains(key), "\(key): \(set.errors)")
                }
            }
        }

        @Test(
            "Flags beat the environment, which beats the file",
            arguments: [
                ("layers.mode", "CISTERN_LAYERS_MODE", "--layers-mode", ["split", "single", "split"]),
                ("layers.compression", "CISTERN_LAYERS_COMPRESSION", "--layers-compression", ["none", "zstd", "gzip"]),
                ("layers.level", "CISTERN_LAYERS_LEVEL", "--layers-level", ["small", "fast", "small"]),
                ("listen", "CISTERN_LISTEN", "--listen", ["127.0.0.1:1", "[::1]:2", "0.0.0.0:3"]),
                (
                    "public-address", "CISTERN_PUBLIC_ADDRESS", "--public-address",
                    ["localhost", "registry.example:5000", "[::1]:80"]
                ),
                ("stack", "CISTERN_STACK", "--stack", ["one", "two", "three"]),
                ("limits.entries", "CISTERN_LIMITS_ENTRIES", "--limits-entries", ["1", "2", "3"]),
                ("limits.droplet-bytes", "CISTERN_LIMITS_DROPLET_BYTES", "--limits-droplet-bytes", ["1", "2", "3"]),
                ("drain-seconds", "CISTERN_DRAIN_SECONDS", "--drain-seconds", ["1", "2", "3"]),
                ("log.level", "CISTERN_LOG_LEVEL", "--log-level", ["debug", "error", "trace"]),
            ])
        func precedence(key: String, variable: String, flag: String, values: [String]) async throws {
            let parts = key.split(separator: ".")
            let file =
                parts.count == 1 ? "\(key): \"\(values[0])\"\n" : "\(parts[0]):\n  \(parts[1]): \"\(values[0])\"\n"
            let environment = [variable: values[1]]
            for (arguments, environment, expected) in [
                ([], [:], values[0]), ([], environment, values[1]), ([flag, values[2]], environment, values[2]),
                ([flag, values[2]], [:], values[2]),
            ] as [([String], [String: String], String)] {
                let result = try await Self.serve(["--print-config"] + arguments, environment: environment, file: file)
                #expect(try Self.settings(result)[key] == expected)
            }
        }

        @Test(
            "The file may be YAML or JSON, nested or flat, and --print-config's own output",
            arguments: [
                "layers:\n  mode: split\n", "layers.mode: split\n", #"{"layers": {"mode": "split"}}"#,
                "# a comment\nlayers: {mode: split}\n",
            ])
        func files(file: String) async throws {
            let result = try await Self.serve(["--print-config"], file: file)
            #expect(try Self.settings(result)["layers.mode"] == "split")
            let again = try await Self.serve(["--print-config"], file: result.output)
            #expect(again.status == 0 && again.output == result.output, "\(again.errors)")
        }

        @Test(
            "In YAML a word is taken as it is written: off is no false, where off is a value",
            arguments: [
                ("staging.runner", "off", "off"), ("rootfs.delta", "off", "off"), ("rootfs.delta", "auto", "auto"),
                ("tls.http2", "off", "false"), ("tls.http2", "on", "true"), ("tls.http2", "No", "false"),
                ("redirects", "true", "true"), ("stack", "22", "22"), ("stack", "010", "010"),
                ("stack", "1.10", "1.10"),
                ("stack", "on", "on"), ("tls.key", "~", ""), ("plain-listen", "null", ""),
                ("plain-listen", "[\"127.0.0.1:1\", 127.0.0.1:2]", "127.0.0.1:1,127.0.0.1:2"),
                ("provenance.key", "[]", ""),
            ])
        func words(key: String, written: String, value: String) async throws {
            let result = try await Self.serve(["--print-config"], file: "\(key): \(written)\n")
            #expect(try Self.settings(result)[key] == value)
            let again = try await Self.serve(["--print-config"], file: result.output)
            #expect(again.output == result.output, "\(again.errors)")
        }

        @Test("A list of addresses in the file is as good as a text with commas")
        func lists() async throws {
            let result = try await Self.serve(["--print-config"], file: "listen: [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n")
            #expect(try Self.settings(result)["listen"] == "127.0.0.1:1,127.0.0.1:2")
            let flags = try await Self.serve(["--print-config", "--listen", "127.0.0.1:1", "--listen", "127.0.0.1:2"])
            #expect(try Self.settings(flags)["listen"] == "127.0.0.1:1,127.0.0.1:2")
        }

        @Test("No TLS at all has to be asked for; no address at all is refused")
        func plainOnly() async throws {
            let plain = try await Self.serve(["--print-config", "--listen", "", "--plain-listen", "127.0.0.1:0"])
            #expect(try Self.settings(plain)["listen"] == "" && Self.settings(plain)["plain-listen"] == "127.0.0.1:0")
            let none = try await Self.serve(["--listen", ""])
            #expect([1, 2].contains(none.status) && none.errors.contains("address"), "\(none.errors)")
        }

        @Test(
            "A file with unknown keys or none at all, or one that is no YAML, is refused by name",
            arguments: [
                ("layer:\n  mode: split\n", "layer.mode"), ("layers:\n  mod: split\n", "layers.mod"),
                ("Listen: a:1\n", "Listen"),
                ("layers: [", "YAML"), ("just text", "no keys"), ("- a\n- b\n", "no keys"),
                ("listen: {a: {b: c}}\n", "listen.a.b"), ("stack: [a, b]\n", "stack takes one value"),
                ("stack: a\nstack: b\n", "line 1: 'stack' appears twice"),
                ("layers.mode: single\nlayers:\n  mode: split\n", "line 3: 'layers.mode' appears twice"),
                ("drain-seconds: 1.5\n", "'1.5' is no value for drain-seconds"),
            ])
        func badFile(file: String, names: String) async throws {
            for arguments in [["--print-config"], []] {
                let result = try await Self.serve(arguments, file: file)
                #expect([1, 2].contains(result.status) && result.output.isEmpty)
                #expect(
                    result.errors.contains("settings.yaml") || result.errors.contains("drain-seconds"),
                    "\(result.errors)")
                #expect(result.errors.contains(names), "\(result.errors)")
            }
        }

        @Test(
            "A file that can't be read is refused by name", arguments: ["/nonexistent/settings.yaml", "/", "/dev/full"])
        func noFile(path: String) async throws {
            let result = try await Self.serve(["--config", path])
            #expect([1, 2].contains(result.status) && result.errors.contains(path), "\(result.errors)")
        }

        @Test(
            "A bad value is refused, names the setting and says what it takes",
            arguments: [
                ("--listen", "nowhere"), ("--listen", "127.0.0.1:99999"), ("--plain-listen", "x"),
                ("--public-address", "https://registry.example"), ("--public-address", "registry.example/path"),
                ("--public-address", "registry"), ("--public-address", "registry.example:0"),
                ("--public-address", "registry.example:70000"), ("--layers-mode", "double"), ("--layers-level", "tiny"),
                ("--layers-compression", "bzip2"), ("--stack", "../x"), ("--stack", ""), ("--architecture", "pdp11"),
                ("--limits-droplet-bytes", "0"), ("--limits-droplet-bytes", "-1"),
                ("--limits-droplet-bytes", "99999999999999999999"),
                ("--limits-droplet-bytes", "8G"), ("--limits-entries", "many"), ("--limits-conversions", "0"),
                ("--drain-seconds", "-1"),
                ("--log-level", "loud"), ("--tls-certificate", "/only/one.pem"), ("--lifecycle", "nonsense"),
                ("--lifecycle", "pdp11=/x"),
            ])
        func badValue(flag: String, value: String) async throws {
            for arguments in [[], ["--print-config"]] where flag != "--lifecycle" || arguments.isEmpty {
                let result = try await Self.serve(arguments + ["\(flag)=\(value)"])
                #expect([1, 2].contains(result.status) && result.output.isEmpty, "\(result.output)")
                let name = String(flag.dropFirst(2).prefix { $0 != "-" })
                #expect(result.errors.lowercased().contains(name), "\(result.errors)")
                // One of two that go together has a good value.
                let named = flag == "--tls-certificate" ? "tls.key" : value
                #expect(value.isEmpty || result.errors.contains(named), "\(result.errors)")
            }
        }

        @Test("layers.level small goes with gzip alone", arguments: ["zstd", "none"])
        func levelWithoutGzip(compression: String) async throws {
            let result = try await Self.serve(["--layers-level", "small", "--layers-compression", compression])
            #expect([1, 2].contains(result.status))
            #expect(result.errors.contains("layers.level") && result.errors.contains("gzip"), "\(result.errors)")
        }

        @Test("In the environment and the file a bad value is refused too", arguments: ["environment", "file"])
        func badValueElsewhere(place: String) async throws {
            let isFile = place == "file"
            let result = try await Self.serve(
                [], environment: isFile ? [:] : ["CISTERN_LAYERS_MODE": "double"],
                file: isFile ? "layers: {mode: double}" : nil)
            #expect([1, 2].contains(result.status))
            #expect(result.errors.contains("layers.mode") && result.errors.contains("double"), "\(result.errors)")
        }

        @Test(
            "Unknown flags, commands and missing options are usage errors: exit 2, with the usage",
            arguments: [
                ["serve"], ["serve", "--data", "/nonexistent/x", "--nonsense"],
                ["serve", "--data", "/nonexistent/x", "extra"], ["nonsense"],
                ["rootfs"], ["rootfs", "nonsense"], ["rootfs", "import"], ["rootfs", "promote", "--stack", "a"],
                ["droplet", "upload"],
                ["droplet", "show"], ["user", "add"], ["user", "add", "--data", "/nonexistent/x"],
                ["user", "add", "--data", "/nonexistent/x", "name", "a-password"],
                ["user", "add", "--data", "/nonexistent/x", "--password", "a-password", "name"],
            ])
        func usage(arguments: [String]) async throws {
            let result = try await run("cistern", arguments, timeout: .seconds(60))
            if arguments == ["rootfs"] {
                #expect([0, 2].contains(result.status))
                #expect((result.output + result.errors).contains("promote"), "a group alone says what is in it")
            } else {
                #expect(result.status == 2, "\(result.status)")
                #expect(result.errors.lowercased().contains("usage"), "\(result.errors)")
            }
        }

        @Test(
            "Help and the version are no errors",
            arguments: [["--help"], ["--version"], ["serve", "--help"], ["rootfs", "import", "--help"]])
        func help(arguments: [String]) async throws {
            let result = try await run("cistern", arguments, timeout: .seconds(60))
            #expect(result.status == 0 && !result.output.isEmpty && result.errors.isEmpty)
        }

        @Test("Variables that are no settings are ignored: Kubernetes injects some")
        func otherVariables() async throws {
            let environment = [
                "CISTERN_SERVICE_HOST": "10.0.0.1", "CISTERN_SERVICE_PORT": "8443",
                "CISTERN_PORT": "tcp://10.0.0.1:8443",
                "CISTERN_PORT_8443_TCP_ADDR": "10.0.0.1", "CISTERN_NONSENSE": "x",
            ]
            let plain = try await Self.serve(["--print-config"])
            let injected = try await Self.serve(["--print-config"], environment: environment)
            #expect(injected.status == 0 && injected.output == plain.output)
        }

        @Test(
            "A data directory that can't be made is a failure that names it",
            arguments: ["/dev/null/data", "/proc/data"])
        func badDirectory(path: String) async throws {
            let result = try await run(
                "cistern", ["serve", "--data", path, "--listen", "127.0.0.1:0"], timeout: .seconds(60))
            #expect(result.status == 1 && result.errors.contains(path), "\(result.errors)")
        }
    }
}

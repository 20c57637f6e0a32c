import Foundation
import Testing

@testable import Launcher

@Suite("What a droplet says of its processes")
struct DropletFilesTests {
    @Test(
        "A Procfile's line is a type and a command",
        arguments: [
            ("web: bundle exec rackup -p $PORT\n", ["web": "bundle exec rackup -p $PORT"]),
            ("web: a\nworker: b", ["web": "a", "worker": "b"]),
            ("web : a", ["web": "a"]),
            ("web:a", ["web": "a"]),
            ("web: a\r\nworker: b\r\n", ["web": "a", "worker": "b"]),
            ("# comment\n\nweb: a # comment\n", ["web": "a"]),
            ("---\nweb: a", ["web": "a"]),
            ("web: \"quoted whole\"", ["web": "quoted whole"]),
            ("web: 'it''s'", ["web": "it's"]),
            ("web: \"./a b\" --flag", ["web": "\"./a b\" --flag"]),
            ("web: echo \"a # b\"", ["web": "echo \"a # b\""]),
            ("web: [ -f x ] && ./y", ["web": "[ -f x ] && ./y"]),
            ("web: ! test -f x", ["web": "! test -f x"]),
            ("web: FOO=bar ./x: y", ["web": "FOO=bar ./x: y"]),
            ("web: java $OPTS\n  -jar app.jar\nworker: b", ["web": "java $OPTS -jar app.jar", "worker": "b"]),
            ("web: |\n  a\n  b\nworker: c", ["web": "a\nb", "worker": "c"]),
            ("web: >\n  a\n  b\n", ["web": "a b"]),
            ("web: a\nweb: b", ["web": "b"]),
            ("web:", [:]), ("not a process", [:]), ("", [:]), ("we b: x", [:]),
            ("web-2.x_y: a", ["web-2.x_y": "a"]),
        ] as [(String, [String: String])])
    func procfile(text: String, expected: [String: String]) {
        let processes = Procfile.parse(text)
        #expect(Dictionary(processes.map { ($0.type, $0.command) }) { $1 } == expected)
        #expect(processes.count == expected.count)
    }

    @Test("A byte order mark at the beginning of a file is skipped")
    func byteOrderMark() throws {
        let home = NSTemporaryDirectory() + "/droplet-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: home) }
        for (file, text) in [
            ("app/Procfile", "web: a"), ("deps/0/launch.yml", "processes:\n- {type: worker, command: b}\n"),
            ("staging_info.yml", #"{"start_command":"c"}"#),
        ] {
            let path = URL(fileURLWithPath: "\(home)/\(file)")
            try FileManager.default.createDirectory(
                at: path.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data("\u{feff}\(text)".utf8).write(to: path)
        }
        let paths = DropletPaths(app: SystemText(bytes: Array("\(home)/app".utf8)))
        #expect(DropletReader.stagingInfo(paths).info?.startCommand == "c")
        let sources = DropletReader.processSources(paths)
        #expect(sources.compactMap { $0.command("web") } == ["a"])
        #expect(sources.compactMap { $0.command("worker") } == ["b"])
    }

    @Test("launch.yml's processes and sidecars are commands by type")
    func launchFile() throws {
        let text = """
            ---
            processes:
            - type: "web"
              command: "bin/web --port $PORT"
            - type: agent
              command: |
                bin/agent
              limits:
                memory: 10
              platforms:
                cloudfoundry:
                  sidecar_for: [ "web" ]
            - type: nothing
            - command: nobody
            """
        #expect(
            try LaunchFile.parse(text) == [
                ProcessCommand(type: "web", command: "bin/web --port $PORT"),
                ProcessCommand(type: "agent", command: "bin/agent"),
            ])
        #expect(try LaunchFile.parse("processes: {}").isEmpty)
        #expect(throws: BlockYAMLError.self) { try LaunchFile.parse("processes: *x") }
    }

    @Test(
        "staging_info.yml is JSON, and YAML from old stagers",
        arguments: [
            (#"{"detected_buildpack":"go","start_command":"./app"}"#, "./app", nil),
            (#"{"start_command":""}"#, nil, nil), ("{}", nil, nil), (#"{"start_command":5}"#, nil, nil),
            (#"{"start_command":"a","config":{"entrypoint_prefix":"wrap -x"}}"#, "a", "wrap -x"),
            ("---\ndetected_buildpack: Ruby\nstart_command: bundle exec rackup\n", "bundle exec rackup", nil),
            ("config:\n  entrypoint_prefix: \"wrap\"", nil, "wrap"),
        ] as [(String, String?, String?)])
    func stagingInfo(text: String, command: String?, prefix: String?) throws {
        #expect(try StagingInfo(parsing: text) == StagingInfo(startCommand: command, entrypointPrefix: prefix))
    }

    @Test(
        "staging_info.yml that is neither says where, and shows nothing of itself",
        arguments: [
            #"{"start_command": "s3cret", }"#, "s3cret", "- s3cret", "a: *s3cret", #"{"a":"s3cret","a":1}"#,
        ])
    func badStagingInfo(text: String) throws {
        let error = try #require(throws: StagingInfoError.self) { try StagingInfo(parsing: text) }
        #expect(!error.reason.contains("s3cret"))
        #expect(!error.reason.isEmpty)
    }
}

import Foundation
import JSON
import Staging
import TestSupport
import Testing

/// The buildpacks of `fixtures/buildpacks`, in which a person can look up how a buildpack is made.
@Suite("Fixture buildpacks")
struct FixtureBuildpackTests {
    private static let buildpacks = Programs.repository + "/fixtures/buildpacks"

    private func build(
        _ names: [String], skipsDetect: Bool = false, app: String? = nil, files: [String: String] = [:],
        in world: BuildWorld
    ) async throws -> BuildOutcome {
        try await world.write(app: files, buildpacks: [])
        if let app {
            try await runSuccessfully("cp", ["-a", Programs.repository + "/fixtures/apps/\(app)/app/.", world.app])
        }
        for name in names {
            let place = name.replacing("/", with: "-")
            try await runSuccessfully("cp", ["-a", Self.buildpacks + "/" + name, world.buildpacks + "/" + place])
        }
        let list = BuildpackList(
            names.map {
                .init(
                    key: $0, name: $0, skipsDetect: skipsDetect, directory: $0.replacing("/", with: "-"), source: "")
            })
        try world.put(list.json.canonicalText, at: world.buildpacks + "/config.json")
        return try await world.build()
    }

    @Test("A static site is served from its public directory")
    func staticSite() async throws {
        try await withBuildWorld { world in
            let outcome = try await build(["c", "static"], app: "static", in: world)
            #expect(outcome.error == nil, "\(outcome.log)")
            #expect(outcome.commands?["web"]?.contains("public") == true)
            #expect(outcome.buildpacks.first?["version"] == "1.0.0")
            #expect(outcome.file("app/public/index.html") != nil)
        }
    }

    @Test("A Python app finds the modules that it brought along")
    func python() async throws {
        try await withBuildWorld { world in
            let outcome = try await build(
                ["static", "python"], skipsDetect: true,
                files: [
                    "main.py": "import greeting\nprint(greeting.text)\n", "vendor/greeting.py": "text = 'hello'\n",
                ],
                in: world)
            #expect(outcome.error == nil, "\(outcome.log)")
            #expect(outcome.commands?["web"] == "exec python3 main.py")
            #expect(outcome.buildpacks.map { $0["name"]?.string } == ["static", "python"])
            let script = outcome.droplet + "/profile.d/1_python.sh"
            let ran = try await runSuccessfully(
                "sh", ["-c", ". \(script) && python3 main.py"],
                environment: ["DEPS_DIR": outcome.droplet + "/deps"], directory: outcome.droplet + "/app")
            #expect(ran.output == "hello")
        }
    }

    @Test("A C program is compiled once, and comes from the cache after that")
    func compiled() async throws {
        try await withBuildWorld { world in
            let source = #"#include <stdio.h>"# + "\n" + #"int main(void) { puts("hello"); return 0; }"# + "\n"
            let first = try await build(["c"], files: ["main.c": source], in: world)
            #expect(first.error == nil, "\(first.log)")
            #expect(first.log.contains("Compiling"))
            #expect(try await runSuccessfully(first.droplet + "/app/bin/app").output == "hello")
            try FileManager.default.copyItem(
                atPath: world.output + "/cache.tgz", toPath: world.workspace + "/cache.tgz")
            let second = try await world.build()
            #expect(second.log.contains("Taking the program from the cache"))
            #expect(first.dropletBytes == second.dropletBytes)
        }
    }

    @Test("One that leaves links where the droplet and the result go gets no other file written to, or taken for them")
    func links() async throws {
        try await withBuildWorld { world in
            let victim = world.directory + "/victim"
            try world.put("untouched", at: victim)
            let mode = "replace-droplet-by-link\n\(world.output)\n\(victim)\n"
            let outcome = try await build(["hostile"], files: ["hostile-mode": mode], in: world)
            #expect(outcome.log.contains("hostile: replace-droplet-by-link"))
            #expect(try String(contentsOfFile: victim, encoding: .utf8) == "untouched")
            #expect(outcome.error == nil, "\(outcome.log)")
            for name in ["droplet.tgz", "result.json", "cache.tgz"] {
                let type = try FileManager.default.attributesOfItem(atPath: world.output + "/" + name)[.type]
                #expect(type as? FileAttributeType == .typeRegular, "\(name)")
            }
        }
    }

    @Test(
        "One fails in each phase",
        arguments: [
            ("detect", 222, false), ("supply", 223, true), ("finalize", 223, false), ("compile", 223, false),
            ("release", 224, false),
        ] as [(String, Int32, Bool)])
    func failing(phase: String, code: Int32, skipsDetect: Bool) async throws {
        try await withBuildWorld { world in
            let outcome = try await build(
                ["fails/\(phase)"], skipsDetect: skipsDetect, files: ["a": "b"], in: world)
            #expect(outcome.error?.kind.exitCode == code, "\(outcome.log)")
            #expect(outcome.log.contains("\(phase) fails on purpose"))
            #expect(outcome.result?["failure"]?["phase"] == .string(phase))
        }
    }
}

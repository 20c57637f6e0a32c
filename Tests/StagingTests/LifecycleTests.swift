import Foundation
import JSON
import Staging
import TestSupport
import Testing

@Suite("The lifecycle")
struct LifecycleTests {
    @Test(
        "keeps to its rules",
        arguments: LifecycleRule.detecting + LifecycleRule.supplying + LifecycleRule.removing + LifecycleRule.failing
            + LifecycleRule.processes)
    func rules(_ rule: LifecycleRule) async throws {
        try await withBuildWorld { world in
            try await world.write(app: rule.app, buildpacks: rule.buildpacks)
            let outcome = try await world.build()
            #expect((outcome.error?.kind.exitCode ?? 0) == rule.exitCode, "\(outcome.log)")
            #expect(outcome.result?["lifecycle_type"] == "buildpack")
            #expect(outcome.result?["execution_metadata"] == "")
            #expect(outcome.result?["lifecycle_metadata"]?["detected_buildpack"]?.string != nil)
            #expect(outcome.listing.isEmpty == (rule.exitCode != 0))
            if let commands = rule.commands { #expect(outcome.commands == commands) }
            if let names = rule.names { #expect(outcome.buildpacks.map { $0["name"]?.string } == names) }
            if let trace = rule.trace { #expect(outcome.file("app/trace") == trace) }
            for text in rule.logHas { #expect(outcome.log.contains(text), "\(outcome.log)") }
            for text in rule.logHasNot { #expect(!outcome.log.contains(text), "\(outcome.log)") }
            for name in rule.hasFiles {
                #expect(FileManager.default.fileExists(atPath: outcome.droplet + "/" + name), "\(name)")
            }
            for name in rule.hasNotFiles {
                #expect(!FileManager.default.fileExists(atPath: outcome.droplet + "/" + name), "\(name)")
            }
            for (name, value) in rule.failure { #expect(outcome.result?["failure"]?[name] == value) }
            #expect((outcome.result?["failure"] == nil) == (rule.exitCode == 0))
            #expect(try FileManager.default.contentsOfDirectory(atPath: world.work) == [])
        }
    }

    @Test("Sidecars, versions, prefixes and what else a buildpack says go into the result and to the launcher")
    func metadata() async throws {
        let launch = """
            processes:
            - {type: web, command: serve}
            - type: agent
              command: watch
              platforms: {cloudfoundry: {sidecar_for: [web, worker]}}
              limits: {memory: 64}
            """
        let config = """
            name: "staticfile"
            version: 1.10
            config: {entrypoint_prefix: /lifecycle/run}
            output_metadata: {count: 3, list: [a, true], nested: {x: ~}}
            """
        try await withBuildWorld { world in
            try await world.write(
                app: ["launch": launch, "config": config],
                buildpacks: [
                    FakeBuildpack(
                        "b", key: "k", skipsDetect: true,
                        ["finalize": "cp $1/launch $3/$4/launch.yml; cp $1/config $3/$4/config.yml"])
                ])
            let outcome = try await world.build()
            #expect(
                outcome.result == [
                    "lifecycle_metadata": [
                        "buildpack_key": "k", "detected_buildpack": "staticfile",
                        "buildpacks": [
                            [
                                "key": "k", "name": "staticfile", "version": "1.10",
                                "config": ["entrypoint_prefix": "/lifecycle/run"],
                                "output_metadata": ["count": 3, "list": ["a", true], "nested": ["x": .null]],
                            ]
                        ],
                    ],
                    "process_types": ["web": "serve"],
                    "processes": [["type": "web", "command": "serve"]],
                    "sidecars": [
                        ["name": "agent", "command": "watch", "process_types": ["web", "worker"], "memory": 64]
                    ],
                    "execution_metadata": "", "lifecycle_type": "buildpack",
                ])
            #expect(
                outcome.stagingInfo == [
                    "detected_buildpack": "staticfile", "start_command": "serve",
                    "config": ["entrypoint_prefix": "/lifecycle/run"],
                ])
        }
    }

    @Test("Passwords in a buildpack's URL reach neither the result nor the log")
    func passwords() async throws {
        try await withBuildWorld { world in
            let url = "https://somebody:s3cret@example.com/bp.git#v1"
            try await world.write(buildpacks: [
                FakeBuildpack(url, key: url, ["detect": "exit 0", "compile": "exit 3"])
            ])
            let outcome = try await world.build()
            #expect(outcome.result?["lifecycle_metadata"]?["buildpack_key"] == "https://example.com/bp.git#v1")
            let said = outcome.log + (outcome.result?.canonicalText ?? "")
            for secret in ["s3cret", "somebody"] { #expect(!said.contains(secret)) }
        }
    }

    @Test("Buildpacks see the request's variables and no others")
    func environment() async throws {
        try await withBuildWorld { world in
            try await world.write(buildpacks: [
                FakeBuildpack("b", ["detect": "exit 0", "compile": "env > $1/env", "release": releases])
            ])
            let services = #"{"db":[{"credentials":{"uri":"mysql://u@h/d"}}]}"#
            let outcome = try await world.build(environment: [
                .init(name: "FOO", value: "b a r"), .init(name: "VCAP_SERVICES", value: services),
                .init(name: "DATABASE_URL", value: "overridden"), .init(name: "CF_STACK", value: "cflinuxfs4"),
            ])
            let lines = (outcome.file("app/env") ?? "").split(separator: "\n").map(String.init)
            // The shell adds PWD.
            #expect(
                lines.filter { !$0.hasPrefix("PWD=") && !$0.hasPrefix("OLDPWD=") && !$0.hasPrefix("_=") }.sorted() == [
                    "CF_STACK=cflinuxfs4", "DATABASE_URL=mysql2://u@h/d", "FOO=b a r", "HOME=\(world.work)/home",
                    "LANG=C.UTF-8", "PATH=/usr/bin:/bin", "SOURCE_DATE_EPOCH=1", "TMPDIR=\(world.work)/tmp",
                    "USER=vcap", "VCAP_SERVICES=\(services)",
                ])
        }
    }

    @Test("Caches come back by the buildpack's key, and those of other buildpacks go")
    func caches() async throws {
        try await withBuildWorld { world in
            let count = "echo x >> $2/count; wc -l < $2/count | tr -d ' ' >> $1/trace"
            func buildpacks(_ first: String) -> [FakeBuildpack] {
                [
                    FakeBuildpack("a", key: first, skipsDetect: true, ["supply": count]),
                    FakeBuildpack("b", skipsDetect: true, ["finalize": count, "release": releases]),
                ]
            }
            func build(_ first: String) async throws -> String? {
                try await world.write(buildpacks: buildpacks(first))
                let outcome = try await world.build()
                let kept = try FileManager.default.contentsOfDirectory(atPath: outcome.cache).sorted()
                #expect(kept == [XXH64.directoryName(of: first), "final"].sorted())
                try? FileManager.default.removeItem(atPath: world.workspace + "/cache.tgz")
                try FileManager.default.copyItem(
                    atPath: world.output + "/cache.tgz", toPath: world.workspace + "/cache.tgz")
                return outcome.file("app/trace")
            }
            var traces: [String?] = []
            for first in ["one", "one", "two", "one"] { traces.append(try await build(first)) }
            #expect(traces == ["1\n1\n", "2\n2\n", "1\n3\n", "1\n4\n"])
        }
    }

    @Test("A cache that is not readable costs time, not the build", arguments: ["nonsense", ""])
    func brokenCache(content: String) async throws {
        try await withBuildWorld { world in
            try await world.write(buildpacks: [
                FakeBuildpack("b", ["detect": "exit 0", "compile": "ls $2 > $1/trace", "release": releases])
            ])
            try world.put(content, at: world.workspace + "/cache.tgz")
            let outcome = try await world.build()
            #expect(outcome.error == nil)
            #expect(outcome.file("app/trace") == "")
            #expect(outcome.log.contains("WARNING: the build cache is not used"))
        }
    }

    @Test("A failed build leaves no older droplet behind")
    func staleDroplet() async throws {
        try await withBuildWorld { world in
            try await world.write(buildpacks: [FakeBuildpack("b", ["detect": "exit 1"])])
            for name in ["droplet.tgz", "cache.tgz"] { try world.put("old", at: world.output + "/" + name) }
            _ = try await world.build()
            #expect(try FileManager.default.contentsOfDirectory(atPath: world.output) == ["result.json"])
        }
    }
}

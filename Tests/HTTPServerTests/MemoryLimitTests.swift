import Foundation
import TestSupport
import Testing

@testable import HTTPServer

@Suite("The memory that a process may have")
struct MemoryLimitTests {
    /// Groups as they show in `/proc/self/cgroup`, files below `/sys/fs/cgroup`, and the limit that they mean.
    struct Groups: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let text: String
        let files: [String: String]
        let limit: Int?
    }

    static let groups = [
        Groups(
            testDescription: "version 2: the least of nested groups",
            text: "0::/kubepods/pod1/c1\n",
            files: [
                "kubepods/pod1/c1/memory.max": "max\n", "kubepods/pod1/memory.max": "1073741824\n",
                "kubepods/memory.max": "2147483648\n",
            ], limit: 1 << 30),
        Groups(
            testDescription: "version 2: a container sees its own group as the root",
            text: "0::/\n", files: ["memory.max": "536870912\n"], limit: 512 << 20),
        Groups(
            testDescription: "version 2: a group whose path is not to be seen from inside",
            text: "0::/../../pod1/c1\n", files: ["memory.max": "536870912\n"], limit: 512 << 20),
        Groups(
            testDescription: "version 1",
            text: "12:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n",
            files: [
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/docker/abc/memory.limit_in_bytes": "268435456\n", "x/memory.max": "1\n",
            ], limit: 256 << 20),
        Groups(
            testDescription: "version 1: a container sees its own group as the root, with several controllers",
            text: "4:cpu,memory:/docker/abc\n", files: ["memory/memory.limit_in_bytes": "268435456\n"],
            limit: 256 << 20),
        Groups(
            testDescription: "both versions: the smaller limit counts",
            text: "4:memory:/a\n0::/b\n",
            files: ["memory/a/memory.limit_in_bytes": "300000000", "b/memory.max": "200000000"], limit: 200_000_000),
        Groups(
            testDescription: "a name with a colon",
            text: "0::/a:b\n", files: ["a:b/memory.max": "100000000\n"], limit: 100_000_000),
        Groups(testDescription: "max everywhere", text: "0::/a\n", files: ["a/memory.max": "max\n"], limit: nil),
        Groups(
            testDescription: "version 1 without a limit", text: "4:memory:/\n",
            files: ["memory/memory.limit_in_bytes": "9223372036854771712\n"], limit: nil),
        Groups(testDescription: "no such files", text: "0::/a/b\n", files: [:], limit: nil),
        Groups(testDescription: "what makes no sense", text: "\n:\n0:\nx\n4:memory\n", files: [:], limit: nil),
    ]

    @Test("is the least limit of its control groups", arguments: groups)
    func limit(_ groups: Groups) throws {
        let directory = try TemporaryDirectory()
        let mount = directory.path + "/cgroup"
        for (name, text) in groups.files {
            let path = "\(mount)/\(name)"
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        }
        let list = directory.path + "/list"
        try Data(groups.text.utf8).write(to: URL(fileURLWithPath: list))
        #expect(MemoryLimit.limitOfGroups(at: list, mount: mount) == groups.limit)
    }

    @Test("is none where there are no control groups")
    func none() {
        #expect(MemoryLimit.limitOfGroups(at: "/nonexistent/cgroup", mount: "/nonexistent") == nil)
    }
}

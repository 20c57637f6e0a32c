import CLinux
import Glibc
import Synchronization

/// A control group (cgroups(7), version 1 or 2) that bounds the memory, the processes and the share of the processors of
/// everything that a step starts. It is made below this process's own groups.
final class ControlGroup: Sendable {
    /// What can be bounded, and the directory of this process's own group in which that is done.
    struct Hierarchy: Hashable {
        enum Controller: String, CaseIterable {
            case memory, pids, cpu
        }

        let controller: Controller
        let directory: String
        let isVersion2: Bool
    }

    private let directories: [(hierarchy: Hierarchy, path: String)]

    /// What is bounded; what is missing can't be on this system, or by this user.
    var controllers: Set<Hierarchy.Controller> { Set(directories.map(\.hierarchy.controller)) }

    /// How the names of all groups begin; the number of the process that makes one follows.
    private static let prefix = "cistern-"

    /// A name that no other group has.
    static func name() -> String { "\(prefix)\(getpid())-\(UInt64.random(in: 0 ... .max))" }

    /// Removes groups of processes that are no more.
    static func removeLeftovers() {
        for directory in Set(own.map(\.directory)) {
            guard let stream = opendir(directory) else { continue }
            defer { closedir(stream) }
            while let entry = readdir(stream) {
                let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { $0.prefix { $0 != 0 }.map { $0 } }
                let name = String(decoding: bytes, as: UTF8.self)
                let parts = name.split(separator: "-")
                guard name.hasPrefix(prefix), parts.count == 3, let process = pid_t(parts[1]),
                    kill(process, 0) != 0, errno == ESRCH
                else { continue }
                // What it started has ended with it, or is about to.
                rmdir("\(directory)/\(name)")
            }
        }
    }

    /// Makes a group with a name that no other one has. What can't be bounded is left out.
    init(name: String, limits: SandboxLimits, hierarchies: [Hierarchy] = ControlGroup.own) {
        var made: [(Hierarchy, String)] = []
        for hierarchy in hierarchies {
            let path = hierarchy.directory + "/" + name
            guard mkdir(path, 0o755) == 0 || errno == EEXIST else { continue }
            if Self.bound(hierarchy, path, limits) { made.append((hierarchy, path)) } else { rmdir(path) }
        }
        directories = made
    }

    /// The files into which a process writes its own number to join.
    var joinFiles: [String] { Set(directories.map { $0.path + "/cgroup.procs" }).sorted() }

    /// How many times the system ended one of its processes for want of memory.
    var outOfMemory: Int {
        for (hierarchy, path) in directories where hierarchy.controller == .memory {
            let file = path + (hierarchy.isVersion2 ? "/memory.events" : "/memory.oom_control")
            for line in (Self.read(file) ?? "").split(separator: "\n") {
                let words = line.split(separator: " ")
                if words.count == 2, words[0] == "oom_kill" { return Int(words[1]) ?? 0 }
            }
        }
        return 0
    }

    /// The processes in it.
    var processes: [pid_t] {
        joinFiles.flatMap { (Self.read($0) ?? "").split(separator: "\n").compactMap { pid_t($0) } }
    }

    /// Kills what is left in it and removes it.
    func remove() {
        // A process may fork while the list is read, so this goes on until none is left: the bound on processes ends it.
        for _ in 0..<1000 {
            for process in processes { kill(process, SIGKILL) }
            if directories.allSatisfy({ rmdir($0.path) == 0 || errno == ENOENT }) { return }
            usleep(5000)
        }
    }

    private static func bound(_ hierarchy: Hierarchy, _ path: String, _ limits: SandboxLimits) -> Bool {
        switch (hierarchy.controller, hierarchy.isVersion2) {
        case (.memory, false):
            guard write("\(limits.memory)", path + "/memory.limit_in_bytes") else { return false }
            // Without accounting of swap these files are missing; then swap is not bounded.
            _ = write("\(limits.memory)", path + "/memory.memsw.limit_in_bytes")
            return true
        case (.memory, true):
            guard write("\(limits.memory)", path + "/memory.max") else { return false }
            _ = write("0", path + "/memory.swap.max")
            _ = write("1", path + "/memory.oom.group")
            return true
        case (.pids, _): return write("\(limits.processes)", path + "/pids.max")
        case (.cpu, false):
            return write("100000", path + "/cpu.cfs_period_us")
                && write("\(Int(limits.processors * 100_000))", path + "/cpu.cfs_quota_us")
        case (.cpu, true): return write("\(Int(limits.processors * 100_000)) 100000", path + "/cpu.max")
        }
    }

    /// The groups of this process below which it may make others.
    static let own: [Hierarchy] = hierarchies(
        mounts: read("/proc/self/mountinfo") ?? "", groups: read("/proc/self/cgroup") ?? ""
    ) { directory, controller in
        (read(directory + "/cgroup.subtree_control") ?? "").split(whereSeparator: \.isWhitespace)
            .contains { $0 == controller.rawValue }
    }.filter { access($0.directory, W_OK) == 0 }

    /// - Parameters:
    ///   - mounts: `/proc/self/mountinfo` (proc(5)).
    ///   - groups: `/proc/self/cgroup` (cgroups(7)).
    ///   - isEnabled: whether groups below a directory of version 2 have a controller. Where this process's own group
    ///     has processes it can't have such groups, and the top of what is mounted is taken.
    static func hierarchies(
        mounts: String, groups: String, isEnabled: (String, Hierarchy.Controller) -> Bool
    ) -> [Hierarchy] {
        var found: [Hierarchy] = []
        let groups = groups.split(separator: "\n").map {
            $0.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        }
        for line in mounts.split(separator: "\n") {
            let halves = line.split(separator: " - ", maxSplits: 1)
            guard halves.count == 2 else { continue }
            let (fields, kind) = (halves[0].split(separator: " "), halves[1].split(separator: " "))
            guard fields.count > 4, kind.count > 2, kind[0] == "cgroup" || kind[0] == "cgroup2" else { continue }
            let isVersion2 = kind[0] == "cgroup2"
            let options = Set(kind[2].split(separator: ",").map(String.init))
            for controller in Hierarchy.Controller.allCases {
                let group = groups.first { parts in
                    parts.count == 3
                        && (isVersion2
                            ? parts[1].isEmpty : parts[1].split(separator: ",").contains { $0 == controller.rawValue })
                }
                guard let group, isVersion2 || options.contains(controller.rawValue) else { continue }
                // Inside a container the mount may show a part of the tree only, whose root is the fourth field.
                var path = String(group[2])
                let root = String(fields[3])
                if root != "/", path.hasPrefix(root) { path = String(path.dropFirst(root.count)) }
                var directory = String(fields[4]) + (path == "/" ? "" : path)
                if isVersion2 {
                    let directories = [directory, String(fields[4])]
                    guard let enabled = directories.first(where: { isEnabled($0, controller) }) else { continue }
                    directory = enabled
                }
                if !found.contains(where: { $0.controller == controller && !$0.isVersion2 }) {
                    found.append(Hierarchy(controller: controller, directory: directory, isVersion2: isVersion2))
                }
            }
        }
        // Where both versions are mounted, a controller belongs to version 1.
        return found.filter { one in
            !one.isVersion2 || !found.contains { $0.controller == one.controller && !$0.isVersion2 }
        }
    }

    private static func write(_ text: String, _ path: String) -> Bool {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        return Glibc.write(descriptor, bytes, bytes.count) == bytes.count
    }

    private static func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var (bytes, piece) = ([UInt8](), [UInt8](repeating: 0, count: 64 << 10))
        while bytes.count < 4 << 20 {
            let count = Glibc.read(descriptor, &piece, piece.count)
            guard count > 0 else { break }
            bytes += piece[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

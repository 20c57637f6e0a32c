import Layers
import Packages

/// What a root filesystem needs so that apps can be started on it.
struct RootfsRequirements {
    private static let accounts = ["etc/passwd", "etc/group"]
    private static let maximumAccounts = 1 << 20
    /// The account that apps run as: its name, and the number of the user and the group.
    private static let account = (name: "vcap", id: "2000")

    let shell: String
    let architecture: Architecture

    /// The files to look at during the conversion, for the requirements and for the package list.
    var watch: RootfsWatch {
        var files = PackageList.files
        for file in Self.accounts { files[file] = Self.maximumAccounts }
        return RootfsWatch(
            files: files, paths: OSRelease.paths, folders: PackageList.folders, programs: [shell])
    }

    /// Everything that is missing, in words.
    func missing(in findings: RootfsFindings) -> [String] {
        var missing: [String] = []
        if let problem = shellProblem(findings.programs[shell]) { missing.append(problem) }
        let (name, id) = Self.account
        if !has("etc/passwd", findings, { $0.count >= 4 && $0[0] == name && $0[2] == id && $0[3] == id }) {
            missing.append("no user \(name) \(id):\(id) in /etc/passwd")
        }
        if !has("etc/group", findings, { $0.count >= 3 && $0[0] == name && $0[2] == id }) {
            missing.append("no group \(name) \(id) in /etc/group")
        }
        if findings.existing.isDisjoint(with: OSRelease.paths) { missing.append("no /etc/os-release") }
        return missing
    }

    private func shellProblem(_ found: RootfsFindings.Program?) -> String? {
        switch found {
        case nil: return "no \(shell): name the shell that it has (--shell)"
        case .notExecutable: return "a \(shell) that can't be executed"
        case .other: return "a \(shell) that is no program"
        case .elf(let program, let hasLoader):
            guard program.machine == architecture.machine, program.is64Bit, program.isLittleEndian else {
                return "a \(shell) that is for \(Self.name(of: program)), not \(architecture)"
            }
            switch program.interpreter {
            case .none: return nil
            case .path where hasLoader: return nil
            case .path(let path): return "no loader \(printable(path)), which \(shell) needs"
            case .beyond: return "a \(shell) whose loader can't be found out"
            }
        }
    }

    private func printable(_ path: [UInt8]) -> String {
        String(decoding: path.prefix(200).filter { $0 > 32 && $0 < 127 }, as: UTF8.self)
    }

    private func has(_ file: String, _ findings: RootfsFindings, _ isIt: ([Substring]) -> Bool) -> Bool {
        guard case .bytes(let bytes)? = findings.files[file] else { return false }
        return String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
            .contains { isIt($0.split(separator: ":", omittingEmptySubsequences: false)) }
    }

    /// The name of a program's machine by `e_machine` (System V ABI).
    private static func name(of program: ELFProgram) -> String {
        switch program.machine {
        case 3: "i386"
        case 21: "ppc64"
        case 22: "s390x"
        case 40: "arm"
        case 62: program.is64Bit ? "amd64" : "x32"
        case 183: "arm64"
        case 243: "riscv"
        default: "the machine \(program.machine)"
        }
    }
}

extension Architecture {
    /// `e_machine` of the architecture's programs.
    fileprivate var machine: UInt16 {
        switch self {
        case .amd64: 62
        case .arm64: 183
        }
    }
}

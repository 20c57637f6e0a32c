import Blobs
import ErrorStatus
import HTTPServer
import HTTPTypes
import Layers
import ObjectStore
import Registry
import Rootfs

/// How the operators' API words its failures: `{"code","error","request"}`.
struct OperatorErrors: ErrorEnvelope {
    func failure(for error: any Error) -> HTTPFailure? {
        if let failure = ErrorStatus.ofBody(error) { return failure }
        guard let status = ErrorStatus(error, in: .operators) else { return nil }
        return HTTPFailure(
            status.status, status.message ?? "\(error)", code: Self.code(of: error) ?? Self.code(of: status),
            headers: status.headers)
    }

    private static func code(of error: any Error) -> String? {
        switch error {
        case let error as ImageError: code(of: error)
        case RegistryError.input(let error): code(of: error)
        case RegistryError.collecting, RegistryError.counting, RegistryError.verifying: "running"
        default: nil
        }
    }

    /// nil: the status says it.
    private static func code(of error: ImageError) -> String? {
        switch error {
        case .invalidName: "invalid-name"
        case .unsuitableReport: "invalid-report"
        case .unknownStack, .unknownVersion, .nothingPromoted, .noVariant, .unknownDroplet, .unknownDelta: "unknown"
        case .noPackages: "not-recorded"
        case .versionBlocked: "blocked"
        case .nothingBefore: "nothing-before"
        case .promotedMeanwhile: "promoted-meanwhile"
        case .rootfsNeeded: "needed"
        case .rootfsInUse: "in-use"
        case .rootfsExists, .aliasTaken: "exists"
        case .notOneLayer: "several-layers"
        case .noLifecycle: "no-lifecycle"
        case .unsuitableRootfs: "unsuitable-rootfs"
        case .unsuitableImage: "unsuitable-image"
        case .unsuitableDelta: "unsuitable-delta"
        case .untrusted: "untrusted"
        case .checksumMismatch: "checksum-mismatch"
        case .rejected(let reason): reason.fault == .noMemory ? "busy" : "not-convertible"
        case .blob(.overQuota): "over-quota"
        case .blob(.uncounted): "uncounted"
        case .store(.permission), .blob(.store(.permission)): "read-only"
        case .damaged, .contended, .blob, .store, .signing, .input, .cancelled: nil
        }
    }

    private static func code(of status: ErrorStatus) -> String {
        switch status.status.code {
        case 507: "full"
        case 503: "unavailable"
        default: ""
        }
    }
}

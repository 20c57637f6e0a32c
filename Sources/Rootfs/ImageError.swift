public import Blobs
public import Layers
import OCI
public import ObjectStore
package import Records
import Runtime
public import Signatures

/// Why an image, a droplet or a rootfs could not be read or made.
public enum ImageError: Error, Sendable {
    /// A guid, stack, version or architecture does not match its grammar.
    /// - Parameters:
    ///   - what: the kind of name.
    ///   - text: the text that was given.
    case invalidName(what: String, text: String)
    case unknownStack(StackName)
    case unknownVersion(StackName, VersionName)
    /// The stack has versions, but none is promoted.
    case nothingPromoted(StackName)
    /// The version lacks a variant for the droplet's architecture.
    case noVariant(StackName, VersionName, Architecture)
    /// Other content was imported under the same name, and a version is immutable.
    case rootfsExists(StackName, VersionName, Architecture)
    /// The rootfs lacks what is needed to start apps; the list has everything that is missing.
    case unsuitableRootfs(missing: [String])
    /// An image archive is broken or has no suitable image; the text says why.
    case unsuitableImage(String)
    /// The import is not signed by a trusted key; the text says why, and which keys are trusted.
    case untrusted(String)
    case unknownDelta(StackName, from: VersionName, to: VersionName)
    /// The version has no package list, because an earlier version of Cistern imported it.
    case noPackages(StackName, VersionName, Architecture)
    /// No layer turns one version into the other, or the computed one does not; the text says why.
    case unsuitableDelta(String)
    /// The version is current, so it can't be removed or blocked.
    case rootfsInUse(StackName, VersionName)
    /// The version may run somewhere or is a rollback's target, so it can't be removed, or only by force; `reason` says
    /// why.
    case rootfsNeeded(StackName, VersionName, reason: String)
    /// The version is blocked, so it can't be promoted and no delta to it is made.
    case versionBlocked(StackName, VersionName, reason: String)
    /// There is no earlier version to roll back to that still exists and is not blocked.
    case nothingBefore(StackName, current: VersionName)
    /// Another version is current than the request expects. The value is its promotion; nil if nothing was ever
    /// promoted.
    case promotedMeanwhile(StackName, PromotionHistory.Promotion?)
    /// The version consists of several layers, where a single one is needed.
    case notOneLayer(StackName, VersionName)
    /// A cluster's report of what runs there is not valid; the text says why.
    case unsuitableReport(String)
    /// This server has no `launch` for the architecture.
    case noLifecycle(Architecture)
    case unknownDroplet(guid: String, hash: String)
    /// The bytes received are not the ones announced.
    case checksumMismatch(announced: String, received: String)
    /// Another droplet of the app has the same SHA-1.
    case aliasTaken(guid: String, sha1: String)
    /// The app has as many droplets as it can have.
    case tooManyDroplets(guid: String, limit: Int)
    /// The app has the droplet for another stack or architecture than was stated; the values are the droplet's.
    case otherBase(guid: String, hash: String, stack: StackName, architecture: Architecture)
    /// The droplet or rootfs is not one that can be converted.
    case rejected(ConversionError)
    /// A stored record can't be read.
    case damaged(ObjectKey)
    /// The change was given up because other writers changed the same record too often.
    case contended(ObjectKey)
    case blob(BlobError)
    case store(ObjectStoreError)
    /// Provenance can't be signed.
    case signing(SignatureError)
    /// The sender failed or went away; the value is its own error.
    case input(any Error)
    case cancelled
}

extension ImageError: RecordFailure {
    package init(_ error: RecordError) {
        switch error {
        case .unreadable(let record): self = .damaged(record.key)
        case .contended(let key): self = .contended(key)
        case .store(.cancelled): self = .cancelled
        case .store(let error): self = .store(error)
        }
    }
}

extension ImageError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .invalidName(let what, let text): "'\(text)' is not a valid \(what)"
        case .unknownStack(let stack): "there is no stack \(stack): import a rootfs for it first"
        case .unknownVersion(let stack, let version): "the stack \(stack) has no rootfs version \(version)"
        case .nothingPromoted(let stack): "no rootfs version of the stack \(stack) is promoted: promote one first"
        case .noVariant(let stack, let version, let architecture):
            "rootfs version \(version) of the stack \(stack) has no variant for \(architecture)"
        case .rootfsExists(let stack, let version, let architecture):
            "rootfs version \(version) of the stack \(stack) (\(architecture)) exists with other content: "
                + "choose another version"
        case .rootfsInUse(let stack, let version): "\(stack) \(version) is current: promote another version first"
        case .rootfsNeeded(_, _, let reason): reason
        case .versionBlocked(let stack, let version, let reason):
            "\(stack) \(version) is blocked\(reason.isEmpty ? "" : " (\(reason))"): choose another version, or allow it again "
                + "(`cistern rootfs allow --stack \(stack) --version \(version)`)"
        case .nothingBefore(let stack, let current):
            "there is nothing before \(current) to go back to that is still there and not blocked: "
                + "promote the version you want (`cistern rootfs list --stack \(stack)` shows them)"
        case .promotedMeanwhile(let stack, let promotion?):
            "\(stack) is on \(promotion.version) since \(promotion.at.rfc3339): \(promotion.by) "
                + (promotion.kind == .rollback ? "went back to it" : "promoted it")
                + "\(promotion.reason.isEmpty ? "" : " (\(promotion.reason))"); look at it, then say so again"
        case .promotedMeanwhile(let stack, nil): "nothing of the stack \(stack) is promoted yet"
        case .notOneLayer(let stack, let version):
            "\(stack) \(version) has several layers: copy the image cistern/\(stack):\(version) instead"
        case .unsuitableReport(let reason), .unsuitableDelta(let reason): reason
        case .unknownDelta(let stack, let from, let to):
            "there is no delta from \(from) to \(to) of the stack \(stack): compute it first "
                + "(`cistern rootfs delta \(from) \(to) --stack \(stack)`)"
        case .noPackages(let stack, let version, let architecture):
            "the packages of \(stack) \(version) (\(architecture)) are not recorded, since an earlier Cistern imported it: "
                + "import the same file again as \(version)"
        case .unsuitableRootfs(let missing):
            "no app can be started on this rootfs; it has \(missing.joined(separator: "; "))"
        case .unsuitableImage(let reason), .untrusted(let reason): reason
        case .noLifecycle(let architecture): "this server has no lifecycle programs for \(architecture)"
        case .unknownDroplet(let guid, let hash): "there is no droplet \(hash) of \(guid)"
        case .checksumMismatch(let announced, let received):
            "the bytes received have the checksum \(received), announced was \(announced)"
        case .aliasTaken(let guid, let sha1): "another droplet of \(guid) is already known by the SHA-1 \(sha1)"
        case .tooManyDroplets(let guid, let limit):
            "\(guid) has \(limit) droplets, and no app can have more: remove some (`cistern droplet list --guid \(guid)` shows them), "
                + "or let retention.droplets keep the newest"
        case .otherBase(let guid, let hash, let stack, let architecture):
            "\(guid) has the droplet \(hash) for the stack \(stack) on \(architecture), and keeps it so: upload it for these, "
                + "or remove it first (`cistern droplet remove --guid \(guid) --hash \(hash)`)"
        case .rejected(let error): "\(error)"
        case .damaged(let key): "the record \(key) can't be read: `cistern verify` says more"
        case .contended(let key): "the record \(key) changes too often"
        case .blob(let error): error.description
        case .store(let error): error.description
        case .signing(let error): error.description
        case .input: "the transfer broke off"
        case .cancelled: "cancelled"
        }
    }
}

extension ImageError: BlobFailure {
    public init(_ error: BlobError) { self = .blob(error) }

    package init(_ error: IngestError) {
        switch error {
        case .mismatch(let announced, let received):
            self = .checksumMismatch(announced: announced.description, received: received.description)
        case .tooLarge(let received): self = .rejected(ConversionError(.tooLarge, "more than \(received) bytes came"))
        case .input(let error): self = .input(error)
        case .cancelled: self = .cancelled
        case .blob(let error): self = .blob(error)
        }
    }
}

/// Turns any error that reading, converting or storing throws into an `ImageError`.
package func imageError(_ error: any Error) -> ImageError {
    switch error {
    case let error as ImageError: error
    case let error as ConversionError: .rejected(error)
    case let error as UnsuitableImage: .unsuitableImage("\(error)")
    case let error as IngestError: ImageError(error)
    case let error as BlobError: .blob(error)
    case let error as ObjectStoreError: .store(error)
    case is CancellationError: .cancelled
    default: .input(error)
    }
}

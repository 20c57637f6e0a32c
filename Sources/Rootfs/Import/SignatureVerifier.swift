import Blobs
import Glibc
import ObjectStore
import Runtime
import Signatures
import Synchronization

/// Checks a detached signature of a file while it is read. If the signature is of the file's BLAKE2b, that is computed
/// on the way. Otherwise the file is kept until it is complete, and mapped into memory, because Ed25519 needs the
/// message as a whole. Mapped pages belong to the system's cache and not to this process' own memory.
final class SignatureVerifier: Sendable {
    /// The largest file that is read into memory, if the store has no file to map; in bytes.
    private static let maximumInMemory: Int64 = 64 << 20
    /// MADV_POPULATE_READ
    private static let populateToRead: Int32 = 22

    private let signature: DetachedSignature
    private let trusted: TrustedKeys
    private let hasher: BLAKE2bHasher?
    /// Writes the bytes into the store; nil if they are not needed, or after the check.
    private let kept: Mutex<BlobWriter?>

    /// - Returns: nil if there is no signature.
    init?(_ source: RootfsSource, in blobs: BlobStore) async throws(BlobError) {
        guard let signature = source.signature else { return nil }
        self.signature = signature
        trusted = source.trusted
        hasher = signature.isPrehashed ? BLAKE2bHasher() : nil
        kept = Mutex(signature.isPrehashed ? nil : blobs.begin())
    }

    func take(_ bytes: [UInt8]) async throws(BlobError) {
        bytes.withUnsafeBytes { hasher?.update($0) }
        try await kept.withLock { $0 }?.write(bytes)
    }

    /// Removes kept bytes. Call it if nothing is left to check; it is harmless after `signer`.
    func abort() async { await takeKept()?.abort() }

    private func takeKept() -> BlobWriter? {
        kept.withLock { kept in
            defer { kept = nil }
            return kept
        }
    }

    /// The trusted key that signed the bytes taken so far.
    /// - Throws: `.untrusted`, `.blob`, `.store`.
    func signer() async throws(ImageError) -> TrustedKey {
        guard let kept = takeKept() else {
            let digest = hasher?.finish() ?? []
            return try verdict(digest.withUnsafeBytes { Self.check(signature, $0, trusted) })
        }
        let staged: StagedBlob
        do { staged = try await kept.finish() } catch { throw .blob(error) }
        do throws(ImageError) {
            let key = try await signer(of: staged)
            await staged.discard()
            return key
        } catch {
            await staged.discard()
            throw error
        }
    }

    private typealias Verdict = Result<TrustedKey, SignatureError>

    private func signer(of staged: StagedBlob) async throws(ImageError) -> TrustedKey {
        let reader: any ObjectReader
        do { reader = try await staged.open() } catch { throw .blob(error) }
        let verdict: Verdict?
        if let descriptor = (reader as? any FileBackedReader)?.fileDescriptor {
            verdict = await mapped(descriptor, Int(staged.size))
        } else {
            guard staged.size <= Self.maximumInMemory else {
                await reader.close()
                throw .untrusted(
                    "a signature of a file of more than \(Self.maximumInMemory) bytes can't be checked over this store: "
                        + "sign it with minisign, which hashes it first")
            }
            let bytes: [UInt8]
            do { bytes = try await reader.read(at: 0, maximum: Int(staged.size)) } catch { throw .store(error) }
            verdict = bytes.withUnsafeBytes { Self.check(signature, $0, trusted) }
        }
        await reader.close()
        guard let verdict else { throw .store(.io("the signed file can't be read again")) }
        return try self.verdict(verdict)
    }

    private func verdict(_ verdict: Verdict) throws(ImageError) -> TrustedKey {
        do { return try verdict.get() } catch { throw .untrusted("\(error)") }
    }

    /// Maps the file and checks the signature, on a thread of its own, because reading the file may block.
    /// - Returns: nil if the file can't be read.
    private func mapped(_ descriptor: Int32, _ size: Int) async -> Verdict? {
        let (signature, trusted) = (signature, trusted)
        return await withCheckedContinuation { (done: CheckedContinuation<Verdict?, Never>) in
            let isStarted = SystemThread.start(named: "signature") {
                guard size > 0 else {
                    done.resume(returning: Self.check(signature, UnsafeRawBufferPointer(start: nil, count: 0), trusted))
                    return
                }
                guard let start = mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0), start != MAP_FAILED else {
                    done.resume(returning: nil)
                    return
                }
                madvise(start, size, MADV_SEQUENTIAL)
                // A read error is reported here; later it would be a signal. EINVAL: the kernel does not know
                // MADV_POPULATE_READ.
                let isThere = madvise(start, size, Self.populateToRead) == 0 || errno == EINVAL
                let message = UnsafeRawBufferPointer(start: start, count: size)
                let verdict = isThere ? Self.check(signature, message, trusted) : nil
                munmap(start, size)
                done.resume(returning: verdict)
            }
            if !isStarted { done.resume(returning: nil) }
        }
    }

    private static func check(
        _ signature: DetachedSignature, _ message: UnsafeRawBufferPointer, _ trusted: TrustedKeys
    ) -> Verdict {
        do throws(SignatureError) { return .success(try signature.signer(of: message, among: trusted)) } catch {
            return .failure(error)
        }
    }
}

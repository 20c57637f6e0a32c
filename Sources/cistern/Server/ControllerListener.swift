import Bits
import OCI
import Transfer

/// Tells the cloud controller by HTTP.
struct ControllerListener: BitsListener {
    let client: ControllerClient

    func tell(_ job: BitsJob) async throws {
        guard let message = job.message else { return }
        _ = try await client.patch("\(job.kind)/\(PercentEncoding.encode(job.guid))", message)
    }
}

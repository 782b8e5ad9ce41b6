// CloudFront viewer-request function: lets no cache answer a request that states how fresh its answer
// must be. Written for cloudfront-js-2.0, which has no modules; tests/infra loads the file with vm.
//
// It judges no grammar. Whatever is not plainly `eventual` goes to the gateway as it came, under a
// nonce that makes its cache key unlike any other; the gateway accepts it or answers 400.

function handler(event) {
    var request = event.request;
    var headers = request.headers;

    // Only this function sets the nonce: a client that chose it could share one.
    delete headers['x-consistency-nonce'];

    // The floor of a cached path, so the same as no header: both share one cache entry.
    if (isEventual(headers['x-consistency'])) {
        delete headers['x-consistency'];
    }
    if (headers['x-consistency'] || headers['x-consistency-token']) {
        headers['x-consistency-nonce'] = { value: event.context.requestId };
    }
    return request;
}

// True for one header line that says eventual, in any case and spacing.
function isEventual(header) {
    if (!header || (header.multiValue && header.multiValue.length > 1)) {
        return false;
    }
    return header.value.trim().toLowerCase() === 'eventual';
}

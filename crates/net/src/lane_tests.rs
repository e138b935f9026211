use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

async fn fill(lane: &mut Lane, stream: &mut (impl AsyncRead + Unpin), want: usize) -> usize {
    std::future::poll_fn(|cx| lane.poll_fill(cx, stream, want)).await.unwrap()
}

async fn drain(lane: &mut Lane, stream: &mut (impl AsyncWrite + Unpin)) {
    std::future::poll_fn(|cx| lane.poll_drain(cx, stream)).await.unwrap();
}

async fn read(stream: &mut (impl AsyncRead + Unpin), n: usize) -> Vec<u8> {
    let mut out = vec![0; n];
    stream.read_exact(&mut out).await.unwrap();
    out
}

#[tokio::test]
async fn passes_skips_and_authors_in_order() {
    let (mut near, mut far) = duplex(1 << 20);
    let mut lane = Lane::default();
    lane.push_input(b"abcdefgh");
    let plan = lane.plan();
    plan.pass(2);
    plan.skip(2);
    plan.compose(|out| out.extend_from_slice(b"--"));
    plan.pass(3);
    assert_eq!(lane.parts().0, b"h");
    drain(&mut lane, &mut near).await;
    assert_eq!(read(&mut far, 7).await, b"ab--efg");
    assert_eq!(lane.undecided(), 1);
    assert!(!lane.has_output());
}

#[tokio::test]
async fn a_full_lane_is_not_read() {
    let (mut near, mut far) = duplex(1 << 20);
    far.write_all(&vec![7; MAX_BUFFER * 4]).await.unwrap();
    for want in [0, 1, 5] {
        let mut lane = Lane::default();
        let mut total = 0;
        loop {
            let n = std::future::poll_fn(|cx| Poll::Ready(lane.poll_fill(cx, &mut near, want))).await;
            match n {
                Poll::Ready(n) => {
                    let n = n.unwrap();
                    lane.plan().pass(n);
                    total += n;
                }
                Poll::Pending => break,
            }
        }
        assert_eq!(total, MAX_BUFFER);
    }
}

#[tokio::test]
async fn a_lane_full_of_output_is_not_read_for_the_next_header_either() {
    for keeping in [false, true] {
        let (mut near, mut far) = duplex(1 << 20);
        far.write_all(&vec![7; MAX_BUFFER * 2]).await.unwrap();
        let mut lane = Lane::default();
        if keeping {
            lane.keep();
        }
        let mut total = 0;
        while let Poll::Ready(n) =
            std::future::poll_fn(|cx| Poll::Ready(lane.poll_fill(cx, &mut near, 5))).await
        {
            total += n.unwrap();
            let undecided = lane.undecided();
            lane.plan().pass(undecided);
        }
        assert_eq!((total, lane.buffer.len()), (MAX_BUFFER, MAX_BUFFER));
        drain(&mut lane, &mut near).await;
        assert!(fill(&mut lane, &mut near, 5).await > 0, "there is room again");
        assert_eq!(lane.buffer.len(), MAX_BUFFER);
    }
}

#[tokio::test]
async fn grows_to_what_a_message_wants() {
    let (mut near, mut far) = duplex(1 << 22);
    far.write_all(&vec![7; 300_000]).await.unwrap();
    let mut lane = Lane::default();
    while lane.undecided() < 300_000 {
        fill(&mut lane, &mut near, 300_000).await;
    }
    lane.plan().pass(300_000);
    drain(&mut lane, &mut far).await;
    assert!(lane.is_empty());
    lane.shrink(true);
    assert_eq!(lane.buffer.len(), FIRST_BUFFER);
}

#[tokio::test]
async fn what_is_kept_can_be_shown_again() {
    let (mut near, mut far) = duplex(1 << 20);
    let mut lane = Lane::default();
    lane.keep();
    lane.push_input(b"hello");
    lane.plan().pass(5);
    drain(&mut lane, &mut near).await;
    assert_eq!(lane.undecided(), 0);
    lane.rewind();
    assert_eq!(lane.parts().0, b"hello");
    lane.plan().pass(5);
    drain(&mut lane, &mut near).await;
    assert_eq!(read(&mut far, 10).await, b"hellohello");
    lane.forget_kept();
    assert!(lane.is_empty());
}

#[tokio::test]
async fn keeping_ends_when_the_buffer_is_full() {
    let (mut near, mut far) = duplex(1 << 20);
    let mut lane = Lane::default();
    lane.keep();
    for _ in 0..3 {
        far.write_all(&vec![1; MAX_BUFFER]).await.unwrap();
        let mut left = MAX_BUFFER;
        while left > 0 {
            let n = fill(&mut lane, &mut near, 0).await;
            lane.plan().pass(n);
            drain(&mut lane, &mut tokio::io::sink()).await;
            left -= n;
        }
    }
    assert!(!lane.can_rewind());
    assert_eq!(lane.undecided(), 0);
}

proptest::proptest! {
    #[test]
    fn output_is_what_was_decided(steps in proptest::collection::vec((0u8..3, 1usize..40), 1..60), writes in proptest::collection::vec(1usize..50, 1..200)) {
        let mut lane = Lane::default();
        let (mut expected, mut next) = (Vec::new(), 0u8);
        for (kind, n) in steps {
            let bytes: Vec<u8> = (0..n).map(|_| { next = next.wrapping_add(1); next }).collect();
            match kind {
                0 => { lane.push_input(&bytes); lane.plan().pass(n); expected.extend(&bytes); }
                1 => { lane.push_input(&bytes); lane.plan().skip(n); }
                _ => { lane.plan().compose(|out| out.extend_from_slice(&bytes)); expected.extend(&bytes); }
            }
        }
        // A writer that takes a few bytes at a time.
        struct Sips(Vec<usize>, Vec<u8>);
        impl AsyncWrite for Sips {
            fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                let n = self.0.pop().unwrap_or(usize::MAX).min(buf.len());
                self.1.extend_from_slice(&buf[..n]);
                Poll::Ready(Ok(n))
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Ready(Ok(())) }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Ready(Ok(())) }
        }
        let mut sips = Sips(writes, Vec::new());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        proptest::prop_assert!(matches!(lane.poll_drain(&mut cx, &mut sips), Poll::Ready(Ok(()))));
        proptest::prop_assert_eq!(sips.1, expected);
        proptest::prop_assert!(lane.is_empty());
    }
}

#[tokio::test]
async fn what_was_dropped_before_keeping_does_not_come_back() {
    let (mut near, _far) = duplex(1 << 20);
    let mut lane = Lane::default();
    lane.push_input(b"answered;asked");
    lane.plan().skip(9);
    lane.keep();
    lane.plan().pass(5);
    drain(&mut lane, &mut near).await;
    lane.rewind();
    assert_eq!(lane.parts().0, b"asked");
}

use super::*;

const SIZE: Size = Size { cols: 80, rows: 24 };
/// Nobody who takes anything is left behind, however slow this machine is.
const PATIENCE: Duration = Duration::from_secs(600);

fn session() -> Arc<Session> {
    session_with(PATIENCE)
}

fn session_with(patience: Duration) -> Arc<Session> {
    Arc::new(Session::new("abcdefgh".parse().unwrap(), None, None, SIZE, patience))
}

fn shell(script: &str) -> Program {
    Program {
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: vec![("PATH", "/usr/bin:/bin".into()), ("TERM", "xterm".into())],
        relays: false,
    }
}

/// Runs `script` to its end.
fn run(session: &Arc<Session>, script: &str) -> tokio::task::JoinHandle<i32> {
    let session = session.clone();
    let script = shell(script);
    tokio::spawn(async move {
        let code = session.run(&script).await.unwrap();
        session.finish(End { code: Some(code), problem: None });
        code
    })
}

async fn all(viewer: &mut Viewer) -> (Vec<u8>, End) {
    let mut seen = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, viewer.next(16 * 1024)).await.unwrap() {
            View::Output(bytes) => seen.extend_from_slice(&bytes),
            View::Size(_) => {}
            View::End(end) => return (seen, end),
        }
    }
}

async fn until(viewer: &mut Viewer, wanted: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(wanted) {
        match tokio::time::timeout(PATIENCE, viewer.next(16 * 1024)).await.unwrap() {
            View::Output(bytes) => seen.extend_from_slice(&bytes),
            View::Size(size) => assert_eq!(size, Size { cols: 132, rows: 43 }),
            View::End(end) => panic!("{end:?} after {:?}", String::from_utf8_lossy(&seen)),
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_on_taking_is_given_every_byte() {
    let session = session();
    let mut viewer = session.watch();
    let done = run(&session, "stty raw; i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; exit 7");
    let (seen, end) = all(&mut viewer).await;
    let wanted: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    assert!(String::from_utf8_lossy(&seen).ends_with(&wanted));
    assert_eq!(end, End { code: Some(7), problem: None });
    assert_eq!(done.await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_takes_nothing_holds_nobody_up_and_sees_the_end() {
    // The program doesn't wait for either of them.
    let session = session_with(Duration::ZERO);
    let mut slow = session.watch();
    let mut quick = session.watch();
    let done = run(&session, "echo ready; read line; seq 1 200000; echo over");
    until(&mut slow, "ready").await;
    until(&mut quick, "ready").await;
    session.input(Bytes::from_static(b"\n")).unwrap();
    let (seen, _) = all(&mut quick).await;
    assert!(String::from_utf8_lossy(&seen).contains("over"));
    assert_eq!(done.await.unwrap(), 0);
    let (seen, _) = all(&mut slow).await;
    let text = String::from_utf8_lossy(&seen);
    assert!(text.contains("200000") && text.contains("over") && !text.contains("150000"), "{}", seen.len());
    assert!(seen.len() < 2 * crate::terminal::window::WINDOW);
}

#[tokio::test(flavor = "multi_thread")]
async fn input_size_and_control_c_reach_the_program() {
    let session = session();
    let mut viewer = session.watch();
    let done = run(&session, "stty size; read line; stty size; echo \"got $line\"; yes; echo never");
    until(&mut viewer, "24 80").await;
    session.resize(Size { cols: 132, rows: 43 }).unwrap();
    session.input(Bytes::from_static("é🦀\n".as_bytes())).unwrap();
    assert!(until(&mut viewer, "y\r\ny\r\n").await.contains("43 132"));
    session.input(Bytes::from_static(b"\x03")).unwrap();
    let (_, end) = all(&mut viewer).await;
    assert_ne!(end.code, Some(0));
    done.await.unwrap();
    assert!(matches!(session.input(Bytes::new()), Err(TerminalError::Ended)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_does_not_read_is_refused_at_once_when_it_is_too_much() {
    let session = session();
    let mut viewer = session.watch();
    let done = run(&session, "stty raw -echo; echo ready; exec sleep 600");
    until(&mut viewer, "ready").await;
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let taken = (0..100).take_while(|_| session.input(piece.clone()).is_ok()).count();
    assert_eq!(taken, 15, "a MiB waits");
    assert!(matches!(session.input(piece), Err(TerminalError::Stuck)));
    session.kill();
    assert_ne!(done.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_relays_reads_the_terminal_and_writes_beside_it() {
    let session = session();
    let mut viewer = session.watch();
    let script = "sleep 600 & trap 'stty size; kill $!; exit 3' WINCH; stty size; \
                  stty -a | grep -o -e -icanon -e '-echo ' -e -isig; head -c 1 | od -c; echo; \
                  test -t 1 || echo beside >&2; seq 1 100000; wait";
    let program = Program { relays: true, ..shell(script) };
    let done = tokio::spawn({
        let session = session.clone();
        async move {
            let code = session.run(&program).await.unwrap();
            session.finish(End { code: Some(code), problem: None });
        }
    });
    let seen = until(&mut viewer, "-icanon").await;
    assert!(seen.contains("24 80"), "{seen:?}");
    // Nothing of it is a signal, or is held back until a line ends.
    session.input(Bytes::from_static(b"\x03")).unwrap();
    let seen = until(&mut viewer, "\n100000\n").await;
    assert!(seen.contains("003") && seen.contains("\nbeside\n1\n2\n"), "{:?}", seen.get(..200));
    session.resize(Size { cols: 132, rows: 43 }).unwrap();
    let (seen, end) = all(&mut viewer).await;
    assert_eq!(String::from_utf8_lossy(&seen), "43 132\n");
    assert_eq!(end.code, Some(3));
    done.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_later_sees_the_screen() {
    let session = session();
    session.say("a word");
    let done = run(&session, "printf 'first \\033[31mred\\033[m'; read line");
    let mut one = session.watch();
    until(&mut one, "red").await;
    drop(one);
    let mut two = session.watch();
    let seen = until(&mut two, "red").await;
    assert!(seen.contains("a word") && seen.contains("first") && seen.contains("\x1b[31m"), "{seen:?}");
    session.kill();
    done.await.unwrap();
}

#[tokio::test]
async fn a_session_is_left_when_nobody_watches_or_nothing_happens() {
    let session = session();
    let (short, long) = (Duration::from_millis(30), Duration::from_secs(3600));
    session.is_left(short, long).await;
    let viewer = session.watch();
    // Nobody leaves it, however long this machine takes.
    let watched = tokio::time::timeout(short * 10, session.is_left(short, long)).await;
    assert!(watched.is_err());
    session.is_left(long, short).await;
    drop(viewer);
    session.is_left(short, long).await;
}

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.Random;
import java.util.concurrent.locks.LockSupport;

/**
 * A service whose live set and allocation rate change in phases, for the memory benchmark.
 *
 * <p>Arguments: file for the latencies ("-" for none), requests per second, seed, then one argument a
 * phase: seconds:live-MiB:allocated-MiB-per-second. Requests are due at random times (Poisson); one
 * allocates its share, keeps some of it in the live set and does a little work with it. Its latency
 * counts from when it was due, so that a pause is charged to all who wait for its end. Prints "ready"
 * once the first live set is filled; the phases begin when a line comes in on standard input.
 *
 * <p>Without phases it serves one after the other as they come in on standard input, a line each:
 * seed seconds live-MiB allocated-MiB-per-second. What it answers is a line as well: when each request
 * was due and how long it took, in microseconds.
 */
public final class Allocator {
    private static final int CHUNK = 2048;
    private static final int PER_MIB = (1 << 20) / CHUNK;
    /** One chunk in so many goes into the live set, in the place of an older one. */
    private static final int KEEP = 8;

    private static byte[][] live = new byte[0][];
    private static long checksum;

    public static void main(String[] args) throws Exception {
        String file = args[0];
        double perSecond = Double.parseDouble(args[1]);
        Random random = new Random(Long.parseLong(args[2]));
        double[][] phases = new double[args.length - 3][];
        for (int i = 0; i < phases.length; i++) {
            String[] parts = args[i + 3].split(":");
            phases[i] = new double[] {
                Double.parseDouble(parts[0]), Double.parseDouble(parts[1]), Double.parseDouble(parts[2])
            };
        }
        if (phases.length == 0) {
            serve(perSecond);
            return;
        }
        resize((int) (phases[0][1] * PER_MIB));
        System.out.println("ready");
        if (System.in.read() < 0) {
            return;
        }
        StringBuilder log = new StringBuilder();
        long began = System.nanoTime();
        double due = 0.0;
        double end = 0.0;
        for (int phase = 0; phase < phases.length; phase++) {
            end += phases[phase][0];
            due = run(phases[phase], phase + " ", "\n", due, end, began, perSecond, random, log);
        }
        if (!file.equals("-")) {
            try (PrintStream out = new PrintStream(file)) {
                out.print(log);
            }
        }
        System.out.println("done " + (checksum & 1));
    }

    private static void serve(double perSecond) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        for (String line; (line = in.readLine()) != null; ) {
            String[] parts = line.split(" ");
            double[] phase = {
                Double.parseDouble(parts[1]), Double.parseDouble(parts[2]), Double.parseDouble(parts[3])
            };
            StringBuilder log = new StringBuilder();
            Random random = new Random(Long.parseLong(parts[0]));
            run(phase, "", " ", 0.0, phase[0], System.nanoTime(), perSecond, random, log);
            System.out.println(log);
        }
    }

    /** Serves what is due before the end of a phase; when the first request of the next one is due. */
    private static double run(
            double[] phase,
            String before,
            String after,
            double due,
            double end,
            long began,
            double perSecond,
            Random random,
            StringBuilder log) {
        int keep = (int) (phase[1] * PER_MIB);
        int chunks = (int) Math.round(phase[2] * PER_MIB / perSecond);
        for (; due < end; due += -Math.log(1.0 - random.nextDouble()) / perSecond) {
            waitUntil(began + (long) (due * 1e9));
            if (live.length != keep) {
                resize(keep);
            }
            request(chunks, random);
            long latency = System.nanoTime() - began - (long) (due * 1e9);
            log.append(before).append((long) (due * 1e6)).append(' ').append(latency / 1000).append(after);
        }
        return due;
    }

    private static void request(int chunks, Random random) {
        for (int i = 0; i < chunks; i++) {
            byte[] chunk = new byte[CHUNK];
            chunk[i % CHUNK] = (byte) i;
            if (i % KEEP == 0) {
                int place = random.nextInt(live.length);
                checksum += live[place][0];
                live[place] = chunk;
            }
            checksum += chunk[(i * 7) % CHUNK];
        }
    }

    private static void resize(int chunks) {
        byte[][] next = new byte[chunks][];
        System.arraycopy(live, 0, next, 0, Math.min(live.length, chunks));
        for (int i = live.length; i < chunks; i++) {
            next[i] = new byte[CHUNK];
        }
        live = next;
    }

    private static void waitUntil(long nanos) {
        for (long left; (left = nanos - System.nanoTime()) > 0; ) {
            LockSupport.parkNanos(left);
        }
    }
}
